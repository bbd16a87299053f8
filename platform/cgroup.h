// The limits that control groups (v1, v2 or a mixture) put on this process, and whether it is short
// of memory. Used by System::MemoryLimit, System::ProcessorCount and System::MemoryPressure.
// Design: docs/design/platform.md#limits

#ifndef EBB_PLATFORM_CGROUP_H_
#define EBB_PLATFORM_CGROUP_H_

#include <optional>
#include <string>

#include "platform/bytes.h"

namespace ebb::platform {

// `root` is where control groups are mounted, `membership` the file that says which ones this
// process is in; tests hand in trees of their own. Files that are missing or make no sense are
// passed over: at worst there is no limit. The functions are thread-safe, read a few files for
// each level of the tree, and do not cache.

inline constexpr char kCgroupRoot[] = "/sys/fs/cgroup";
inline constexpr char kCgroupMembership[] = "/proc/self/cgroup";
inline constexpr char kMachinePressure[] = "/proc/pressure/memory";

// The tightest of memory.max and memory.high (v2) and memory.limit_in_bytes (v1) of this process's
// groups and all groups above them. The greatest Bytes when there is no limit.
Bytes CgroupMemoryLimit(const std::string& root = kCgroupRoot,
                        const std::string& membership = kCgroupMembership);

// The tightest CPU quota in the same groups, in processors (1.5: one and a half); nullopt when
// there is none.
std::optional<double> CgroupCpuQuota(const std::string& root = kCgroupRoot,
                                     const std::string& membership = kCgroupMembership);

// Pressure stall information (PSI): the greatest share of the last ten seconds, from 0 to 1, in
// which some task of one of the same groups (memory.pressure, v2), or of the machine (`machine`),
// waited for memory. 0 where the kernel does not tell.
double MemoryPressure(const std::string& root = kCgroupRoot,
                      const std::string& membership = kCgroupMembership,
                      const std::string& machine = kMachinePressure);

}  // namespace ebb::platform

#endif  // EBB_PLATFORM_CGROUP_H_
