// RangeReleaser by process_madvise on this process itself: up to 1,024 ranges in one system call,
// which newer kernels end with one TLB flush for all of them. MADV_DONTNEED is taken there since
// Linux 6.13, and only for the calling process.

#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "platform/address_range.h"
#include "platform/bytes.h"
#include "platform/page_size.h"
#include "platform/range_releaser.h"
#include "platform/range_releaser_internal.h"
#include "platform/system_error.h"

namespace ebb::platform {
namespace {

constexpr size_t kMaxIovecs = 1024;  // IOV_MAX of the kernel: more is EINVAL

// glibc of Debian 12 has neither function.
int PidfdOfSelf() { return static_cast<int>(syscall(SYS_pidfd_open, getpid(), 0)); }

ssize_t ProcessMadviseDontNeed(int pidfd, const iovec* iovecs, size_t count) {
  return syscall(SYS_process_madvise, pidfd, iovecs, count, MADV_DONTNEED, 0);
}

iovec ToIovec(AddressRange range) {
  return {.iov_base = reinterpret_cast<void*>(range.begin), .iov_len = range.size.size()};
}

// Whether the kernel discards a page of ours this way: 0, or the errno value that says no.
int TryOnOnePage(int pidfd) {
  const size_t size = PageSize().size();
  void* const page =
      mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) return errno;
  const iovec iovecs[] = {{.iov_base = page, .iov_len = size}};
  const ssize_t done = ProcessMadviseDontNeed(pidfd, iovecs, 1);
  const int error = done >= 0 ? 0 : errno;
  munmap(page, size);
  return error;
}

class ProcessMadviseReleaser : public RangeReleaser {
 public:
  explicit ProcessMadviseReleaser(int pidfd) : pidfd_(pidfd), pid_(getpid()) {}
  ~ProcessMadviseReleaser() override {
    if (pidfd_ >= 0) close(pidfd_);
  }

  absl::Status Discard(absl::Span<const AddressRange> ranges) override {
    const auto merged = internal::PrepareRanges(ranges);
    if (!merged.ok()) return merged.status();
    ReopenAfterFork();
    internal::BatchOutcome outcome;
    absl::Span<const AddressRange> rest = *merged;
    while (!rest.empty()) {
      const absl::Span<const AddressRange> batch = rest.first(std::min(rest.size(), kMaxIovecs));
      const size_t done = DiscardBatch(batch);
      rest.remove_prefix(done);
      if (done == batch.size()) continue;
      // The kernel stopped here: at a range it cannot do, or because a call handles 2 GiB at most.
      outcome.DiscardAlone(rest.front());
      rest.remove_prefix(1);
    }
    return outcome.ToStatus();
  }

  absl::string_view name() const override { return "process_madvise"; }

 private:
  // How many of the first ranges are wholly discarded.
  size_t DiscardBatch(absl::Span<const AddressRange> batch) {
    std::array<iovec, kMaxIovecs> iovecs;
    std::transform(batch.begin(), batch.end(), iovecs.begin(), ToIovec);
    Bytes left(std::max<ssize_t>(0, ProcessMadviseDontNeed(pidfd_, iovecs.data(), batch.size())));
    size_t done = 0;
    while (done < batch.size() && batch[done].size <= left) left -= batch[done++].size;
    return done;
  }

  // In a forked child the descriptor still names the parent, whose memory is not ours to discard.
  void ReopenAfterFork() {
    if (pid_ == getpid()) return;
    close(pidfd_);
    pidfd_ = PidfdOfSelf();  // if that fails, every range goes the slow way
    pid_ = getpid();
  }

  int pidfd_;
  pid_t pid_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<RangeReleaser>> NewProcessMadviseReleaser() {
  const int pidfd = PidfdOfSelf();
  if (pidfd < 0) return SystemError(errno, "open a pidfd of this process");
  const int error = TryOnOnePage(pidfd);
  if (error != 0) {
    close(pidfd);
    return SystemError(error, "discard memory by process_madvise");
  }
  return std::make_unique<ProcessMadviseReleaser>(pidfd);
}

}  // namespace ebb::platform
