// System: the one door to the operating system for memory, threads and machine facts, so that a
// test can make any call fail (FakeSystem). All layers above get a System handed to them.
// Design: docs/design/platform.md

#ifndef EBB_PLATFORM_SYSTEM_H_
#define EBB_PLATFORM_SYSTEM_H_

#include <cstdint>
#include <memory>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "platform/address_range.h"
#include "platform/bytes.h"
#include "platform/range_releaser.h"
#include "platform/thread.h"

namespace ebb::platform {

enum class Access { kNone, kReadWrite };

// Whether the kernel may back memory with transparent huge pages (2 MiB on x86-64).
enum class HugePageAdvice {
  kNever,   // not even where they are enabled for all memory
  kAlways,  // unless they are switched off: at the first touch, and later by khugepaged
};

// Thread-safe. Ranges must be page-aligned, else InvalidArgument; an empty range is fine and does
// nothing. `purpose` says in error messages what the memory was for ("slab 3 of the copy space").
// Every error carries what was attempted, the address, the size, the purpose, the system's own
// error text, and what can be done about it. Each call is one to three system calls.
class System {
 public:
  virtual ~System();

  // The real one: process-wide, never destroyed.
  static System& Real();

  // Address space that cannot be touched yet and costs no memory. It begins at a multiple of
  // `alignment`, a power of two of at least a page. InvalidArgument unless `size` is a positive
  // multiple of a page; ResourceExhausted when the process may not map that much.
  virtual absl::StatusOr<AddressRange> Reserve(Bytes size, Bytes alignment,
                                               absl::string_view purpose) = 0;

  // Makes a part of a reservation readable and writable; never committed before, it reads as zero.
  // Neighbours of equal access share one kernel mapping: vm.max_map_count is not a limit on the
  // number of commits.
  virtual absl::Status Commit(AddressRange range, absl::string_view purpose) = 0;

  // Gives the pages back: the range stays committed and reads as zero.
  virtual absl::Status Discard(AddressRange range, absl::string_view purpose) = 0;

  // Forbids or allows access to committed memory; contents stay. Each lone protected range costs
  // kernel mappings: for debugging modes, not for barriers.
  virtual absl::Status Protect(AddressRange range, Access access, absl::string_view purpose) = 0;

  // Says so of reserved memory, committed or not. Neighbours of unequal advice do not share a
  // kernel mapping. Pages that are there stay as they are. Unimplemented if kAlways is wanted of a
  // kernel that knows no huge pages; kNever is then true anyway.
  virtual absl::Status AdviseHugePages(AddressRange range, HugePageAdvice advice,
                                       absl::string_view purpose) = 0;

  // Undoes Reserve, and everything done to the range since.
  virtual absl::Status Release(AddressRange range, absl::string_view purpose) = 0;

  // Never null: what this machine cannot do falls back to a backend that it can; see its name().
  virtual std::unique_ptr<RangeReleaser> NewRangeReleaser(ReleaseBackend backend) = 0;

  // See Thread::Start.
  virtual absl::StatusOr<std::unique_ptr<Thread>> StartThread(
      absl::string_view name, absl::AnyInvocable<void() &&> body) = 0;

  // Memory of this process that is resident, now and at most since it began. The kernel counts in
  // batches for each processor, so both may be off by some hundred KiB.
  virtual absl::StatusOr<Bytes> ResidentMemory() = 0;
  virtual absl::StatusOr<Bytes> PeakResidentMemory() = 0;

  // Kernel mappings that touch `range`, of the vm.max_map_count that a process may have. One that
  // other memory shares counts as a whole. Reads a file: O(mappings of the process).
  virtual absl::StatusOr<int64_t> CountMappings(AddressRange range) = 0;

  // Processors this process can keep busy, at least 1: its affinity, or its cgroup CPU quota
  // rounded up if that is less. Reads files; ask again when the answer may have changed.
  virtual int ProcessorCount() = 0;

  // The least of physical memory and the memory limits of this process's cgroups, all the way up.
  // Reads files.
  virtual Bytes MemoryLimit() = 0;

  // How short of memory this process's cgroups or the machine have been of late: the share of time,
  // from 0 to 1, in which some task waited for it (PSI); 0 where that is not known. Reads files.
  virtual double MemoryPressure() = 0;
};

}  // namespace ebb::platform

#endif  // EBB_PLATFORM_SYSTEM_H_
