// System::Real: what System promises, by system calls.

#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/no_destructor.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "platform/address_range.h"
#include "platform/bytes.h"
#include "platform/cgroup.h"
#include "platform/page_size.h"
#include "platform/range_releaser.h"
#include "platform/read_file.h"
#include "platform/system.h"
#include "platform/system_error.h"
#include "platform/thread.h"

namespace ebb::platform {
namespace {

void* Pointer(uintptr_t address) { return reinterpret_cast<void*>(address); }

absl::Status CheckAligned(AddressRange range, absl::string_view action, absl::string_view purpose) {
  if (IsPageAligned(range)) return absl::OkStatus();
  return MemoryError(EINVAL, action, range,
                     absl::StrCat(purpose, " (not aligned to pages of ", PageSize(), ")"));
}

absl::Status SetAccess(AddressRange range, Access access, absl::string_view action,
                       absl::string_view purpose) {
  if (absl::Status s = CheckAligned(range, action, purpose); !s.ok()) return s;
  const int protection = access == Access::kReadWrite ? PROT_READ | PROT_WRITE : PROT_NONE;
  if (mprotect(Pointer(range.begin), range.size.size(), protection) == 0) return absl::OkStatus();
  return MemoryError(errno, action, range, purpose);
}

absl::Status Unmap(AddressRange range, absl::string_view purpose) {
  if (absl::Status s = CheckAligned(range, "release", purpose); !s.ok()) return s;
  if (range.size == Bytes(0)) return absl::OkStatus();  // munmap calls that an error
  if (munmap(Pointer(range.begin), range.size.size()) == 0) return absl::OkStatus();
  return MemoryError(errno, "release", range, purpose);
}

// The value of "VmHWM:    1234 kB" and its like.
absl::StatusOr<Bytes> StatusFileField(absl::string_view name) {
  const absl::StatusOr<std::string> text = ReadFile("/proc/self/status");
  if (!text.ok()) return text.status();
  for (absl::string_view line : absl::StrSplit(*text, '\n')) {
    const std::vector<absl::string_view> words =
        absl::StrSplit(line, absl::ByAnyChar(" \t:"), absl::SkipEmpty());
    int64_t kib = 0;
    if (words.size() >= 2 && words[0] == name && absl::SimpleAtoi(words[1], &kib)) return KiB(kib);
  }
  return absl::NotFoundError(absl::StrCat("/proc/self/status has no field ", name));
}

// Processors the calling thread may run on.
int AffinityCount() {
  for (int processors = 1024; processors <= (1 << 20); processors *= 2) {
    cpu_set_t* const set = CPU_ALLOC(processors);
    const size_t size = CPU_ALLOC_SIZE(processors);
    const bool known = set != nullptr && sched_getaffinity(0, size, set) == 0;
    const int count = known ? CPU_COUNT_S(size, set) : 0;
    if (set != nullptr) CPU_FREE(set);
    if (count > 0) return count;
  }
  return static_cast<int>(std::max<long>(1, sysconf(_SC_NPROCESSORS_ONLN)));
}

class RealSystem : public System {
 public:
  absl::StatusOr<AddressRange> Reserve(Bytes size, Bytes alignment,
                                       absl::string_view purpose) override;

  absl::Status Commit(AddressRange range, absl::string_view purpose) override {
    return SetAccess(range, Access::kReadWrite, "commit", purpose);
  }

  absl::Status Discard(AddressRange range, absl::string_view purpose) override {
    if (absl::Status s = CheckAligned(range, "discard", purpose); !s.ok()) return s;
    if (madvise(Pointer(range.begin), range.size.size(), MADV_DONTNEED) == 0) {
      return absl::OkStatus();
    }
    return MemoryError(errno, "discard", range, purpose);
  }

  absl::Status Protect(AddressRange range, Access access, absl::string_view purpose) override {
    return SetAccess(range, access, "change the protection of", purpose);
  }

  absl::Status AdviseHugePages(AddressRange range, HugePageAdvice advice,
                               absl::string_view purpose) override;

  absl::Status Release(AddressRange range, absl::string_view purpose) override {
    return Unmap(range, purpose);
  }

  std::unique_ptr<RangeReleaser> NewRangeReleaser(ReleaseBackend backend) override;

  absl::StatusOr<std::unique_ptr<Thread>> StartThread(absl::string_view name,
                                                      absl::AnyInvocable<void() &&> body) override {
    return Thread::Start(name, std::move(body));
  }

  absl::StatusOr<Bytes> ResidentMemory() override;
  absl::StatusOr<Bytes> PeakResidentMemory() override { return StatusFileField("VmHWM"); }

  absl::StatusOr<int64_t> CountMappings(AddressRange range) override;

  int ProcessorCount() override {
    const int affinity = AffinityCount();
    const std::optional<double> quota = CgroupCpuQuota();
    if (!quota.has_value() || *quota >= affinity) return affinity;
    return std::max(1, static_cast<int>(std::ceil(*quota)));
  }

  double MemoryPressure() override { return platform::MemoryPressure(); }

  Bytes MemoryLimit() override {
    const Bytes physical = PageSize() * sysconf(_SC_PHYS_PAGES);
    return std::min(physical, CgroupMemoryLimit());
  }
};

// Maps `alignment` more than asked, for the kernel aligns to pages only, and unmaps both ends.
absl::StatusOr<AddressRange> RealSystem::Reserve(Bytes size, Bytes alignment,
                                                 absl::string_view purpose) {
  const AddressRange wanted{.begin = 0, .size = size};
  if (size <= Bytes(0) || size % PageSize() != Bytes(0)) {
    return MemoryError(EINVAL, "reserve", wanted,
                       absl::StrCat(purpose, " (not a positive multiple of the page size)"));
  }
  if (alignment < PageSize() || !std::has_single_bit(alignment.size())) {
    return MemoryError(EINVAL, "reserve", wanted,
                       absl::StrCat(purpose, " (alignment ", alignment,
                                    " is not a power of two of at least a page)"));
  }
  const Bytes slack = alignment - PageSize();
  if (size > Bytes(std::numeric_limits<int64_t>::max()) - slack) {
    return MemoryError(ENOMEM, "reserve", wanted, purpose);
  }
  void* const mapped = mmap(nullptr, (size + slack).size(), PROT_NONE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) return MemoryError(errno, "reserve", wanted, purpose);

  const AddressRange all{.begin = reinterpret_cast<uintptr_t>(mapped), .size = size + slack};
  const uintptr_t mask = alignment.size() - 1;
  const AddressRange kept{.begin = (all.begin + mask) & ~mask, .size = size};
  const Bytes head(static_cast<int64_t>(kept.begin - all.begin));
  // An end that cannot be unmapped stays reserved for good: it costs addresses, no memory.
  Unmap({.begin = all.begin, .size = head}, purpose).IgnoreError();
  Unmap({.begin = kept.end(), .size = slack - head}, purpose).IgnoreError();
  return kept;
}

absl::Status RealSystem::AdviseHugePages(AddressRange range, HugePageAdvice advice,
                                         absl::string_view purpose) {
  const bool always = advice == HugePageAdvice::kAlways;
  const absl::string_view action = always ? "advise huge pages for" : "advise small pages for";
  if (absl::Status s = CheckAligned(range, action, purpose); !s.ok()) return s;
  if (madvise(Pointer(range.begin), range.size.size(), always ? MADV_HUGEPAGE : MADV_NOHUGEPAGE) ==
      0) {
    return absl::OkStatus();
  }
  if (errno != EINVAL) return MemoryError(errno, action, range, purpose);
  // The range is aligned: it is the advice that the kernel does not know.
  if (!always) return absl::OkStatus();
  return absl::UnimplementedError(absl::StrCat("cannot ", action, " ", purpose,
                                               ": this kernel has no transparent huge pages"));
}

std::unique_ptr<RangeReleaser> RealSystem::NewRangeReleaser(ReleaseBackend backend) {
  if (backend == ReleaseBackend::kIoUring) {
    if (auto releaser = NewIoUringReleaser(); releaser.ok()) return *std::move(releaser);
  }
  if (backend != ReleaseBackend::kMadvise) {
    if (auto releaser = NewProcessMadviseReleaser(); releaser.ok()) return *std::move(releaser);
  }
  return NewMadviseReleaser();
}

absl::StatusOr<Bytes> RealSystem::ResidentMemory() {
  const absl::StatusOr<std::string> text = ReadFile("/proc/self/statm");
  if (!text.ok()) return text.status();
  const std::vector<absl::string_view> fields = absl::StrSplit(*text, ' ');
  int64_t pages = 0;
  if (fields.size() < 2 || !absl::SimpleAtoi(fields[1], &pages)) {
    return absl::InternalError(absl::StrCat("/proc/self/statm is not understood: ", *text));
  }
  return PageSize() * pages;
}

// Lines begin with "5581a0000000-5581a0021000 ".
absl::StatusOr<int64_t> RealSystem::CountMappings(AddressRange range) {
  if (range.size <= Bytes(0)) return 0;
  const absl::StatusOr<std::string> text = ReadFile("/proc/self/maps");
  if (!text.ok()) return text.status();
  int64_t count = 0;
  for (absl::string_view line : absl::StrSplit(*text, '\n', absl::SkipEmpty())) {
    const std::pair<absl::string_view, absl::string_view> ends =
        absl::StrSplit(line.substr(0, line.find(' ')), absl::MaxSplits('-', 1));
    uint64_t begin = 0;
    uint64_t end = 0;
    if (!absl::SimpleHexAtoi(ends.first, &begin) || !absl::SimpleHexAtoi(ends.second, &end)) {
      return absl::InternalError(absl::StrCat("/proc/self/maps is not understood: ", line));
    }
    if (begin < range.end() && end > range.begin) ++count;
  }
  return count;
}

}  // namespace

System::~System() = default;

System& System::Real() {
  static absl::NoDestructor<RealSystem> system;
  return *system;
}

}  // namespace ebb::platform
