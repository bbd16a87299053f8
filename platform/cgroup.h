// The limits that control groups (v1, v2 or a mixture) put on this process.
// Used by System::MemoryLimit and System::ProcessorCount.
// Design: docs/design/platform.md#limits

#ifndef EBB_PLATFORM_CGROUP_H_
#define EBB_PLATFORM_CGROUP_H_

#include <optional>
#include <string>

#include "platform/bytes.h"

namespace ebb::platform {

// `root` is where control groups are mounted, `membership` the file that says which ones this
// process is in; tests hand in trees of their own. Files that are missing or make no sense are
// passed over: at worst there is no limit. Both functions are thread-safe, read a few files for
// each level of the tree, and do not cache.

inline constexpr char kCgroupRoot[] = "/sys/fs/cgroup";
inline constexpr char kCgroupMembership[] = "/proc/self/cgroup";

// The tightest of memory.max and memory.high (v2) and memory.limit_in_bytes (v1) of this process's
// groups and all groups above them. The greatest Bytes when there is no limit.
Bytes CgroupMemoryLimit(const std::string& root = kCgroupRoot,
                        const std::string& membership = kCgroupMembership);

// The tightest CPU quota in the same groups, in processors (1.5: one and a half); nullopt when
// there is none.
std::optional<double> CgroupCpuQuota(const std::string& root = kCgroupRoot,
                                     const std::string& membership = kCgroupMembership);

}  // namespace ebb::platform

#endif  // EBB_PLATFORM_CGROUP_H_
