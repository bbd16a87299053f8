// RangeReleaser by io_uring: madvise requests, up to kRingEntries in flight at once, carried out by
// kernel workers. The ring belongs to the releaser.

#include <liburing.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "platform/address_range.h"
#include "platform/bytes.h"
#include "platform/range_releaser.h"
#include "platform/range_releaser_internal.h"
#include "platform/system_error.h"

namespace ebb::platform {
namespace {

constexpr unsigned kRingEntries = 256;

// liburing 2.3's io_uring_prep_madvise keeps 32 bits of the length.
constexpr Bytes kMaxPiece = GiB(1);

std::vector<AddressRange> SplitIntoPieces(absl::Span<const AddressRange> ranges) {
  std::vector<AddressRange> pieces;
  pieces.reserve(ranges.size());
  for (AddressRange rest : ranges) {
    while (rest.size > Bytes(0)) {
      const Bytes size = std::min(rest.size, kMaxPiece);
      pieces.push_back({.begin = rest.begin, .size = size});
      rest = {.begin = rest.begin + size.size(), .size = rest.size - size};
    }
  }
  return pieces;
}

class IoUringReleaser : public RangeReleaser {
 public:
  // Takes over `ring`.
  explicit IoUringReleaser(const io_uring& ring) : ring_(ring), pid_(getpid()) {}

  ~IoUringReleaser() override {
    if (usable_) CloseRing();
  }

  absl::Status Discard(absl::Span<const AddressRange> ranges) override {
    const auto merged = internal::PrepareRanges(ranges);
    if (!merged.ok()) return merged.status();
    ReopenAfterFork();
    internal::BatchOutcome outcome;
    const std::vector<AddressRange> pieces = SplitIntoPieces(*merged);
    absl::Span<const AddressRange> rest = pieces;
    while (!rest.empty()) {
      const auto batch = rest.first(std::min<size_t>(rest.size(), kRingEntries));
      const std::vector<bool> done = DiscardBatch(batch);
      for (size_t i = 0; i < batch.size(); ++i) {
        if (!done[i]) outcome.DiscardAlone(batch[i]);
      }
      rest.remove_prefix(batch.size());
    }
    return outcome.ToStatus();
  }

  absl::string_view name() const override { return "io_uring"; }

 private:
  // Which of the pieces were discarded. Nothing is in flight any more when it returns: a late
  // discard would wipe out what the memory is used for next.
  std::vector<bool> DiscardBatch(absl::Span<const AddressRange> batch) {
    std::vector<bool> done(batch.size(), false);
    if (!usable_) return done;
    for (size_t i = 0; i < batch.size(); ++i) {
      io_uring_sqe* const sqe = io_uring_get_sqe(&ring_);  // not null: the ring is empty here
      io_uring_prep_madvise(sqe, reinterpret_cast<void*>(batch[i].begin),
                            static_cast<off_t>(batch[i].size.count()), MADV_DONTNEED);
      io_uring_sqe_set_data64(sqe, i);
    }
    const size_t in_flight = Submit(batch.size());
    for (size_t n = 0; n < in_flight; ++n) {
      const io_uring_cqe completion = NextCompletion();
      done[completion.user_data] = completion.res == 0;
    }
    // What could not be submitted must not go out with the next batch.
    if (in_flight < batch.size()) CloseRing();
    return done;
  }

  // How many of the `count` prepared requests the kernel took.
  size_t Submit(size_t count) {
    size_t submitted = 0;
    while (submitted < count) {
      const int n = io_uring_submit(&ring_);
      if (n == -EINTR) continue;
      if (n <= 0) break;
      submitted += static_cast<size_t>(n);
    }
    return submitted;
  }

  io_uring_cqe NextCompletion() {
    io_uring_cqe* completion = nullptr;
    // Whatever error the wait itself reports (EINTR above all), the requests are with the kernel
    // and complete; each turn looks into the shared completion ring first.
    while (io_uring_wait_cqe(&ring_, &completion) != 0) sched_yield();
    const io_uring_cqe copy = *completion;
    io_uring_cqe_seen(&ring_, completion);
    return copy;
  }

  void CloseRing() {
    usable_ = false;
    if (pid_ == getpid()) {
      io_uring_queue_exit(&ring_);
    } else {
      close(ring_.ring_fd);  // the kernel does not map rings into forked children
    }
  }

  void ReopenAfterFork() {
    if (pid_ == getpid()) return;
    if (usable_) CloseRing();
    pid_ = getpid();
    usable_ = io_uring_queue_init(kRingEntries, &ring_, 0) == 0;
  }

  io_uring ring_;
  pid_t pid_;           // the process whose ring it is
  bool usable_ = true;  // else every range goes the slow way
};

}  // namespace

absl::StatusOr<std::unique_ptr<RangeReleaser>> NewIoUringReleaser() {
  io_uring ring;
  const int error = io_uring_queue_init(kRingEntries, &ring, 0);
  if (error < 0) return SystemError(-error, "set up an io_uring");
  io_uring_probe* const probe = io_uring_get_probe_ring(&ring);
  const bool supported =
      probe != nullptr && io_uring_opcode_supported(probe, IORING_OP_MADVISE) != 0;
  if (probe != nullptr) io_uring_free_probe(probe);
  if (!supported) {
    io_uring_queue_exit(&ring);
    return absl::UnimplementedError("this kernel's io_uring has no madvise");
  }
  return std::make_unique<IoUringReleaser>(ring);
}

}  // namespace ebb::platform
