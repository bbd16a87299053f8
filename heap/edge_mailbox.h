// EdgeMailbox: edges on their way from the worker that found them to the one that owns the blocks
// they lead to. Of the tracer. Design: docs/design/tracing.md#owners

#ifndef EBB_HEAP_EDGE_MAILBOX_H_
#define EBB_HEAP_EDGE_MAILBOX_H_

#include <atomic>
#include <cstdint>
#include <memory>

#include "absl/base/optimization.h"
#include "absl/log/check.h"
#include "copyspace/geometry.h"
#include "platform/bytes.h"

namespace ebb::internal {

// A bounded queue with one sender and one receiver (L. Lamport, Specifying Concurrent Program
// Modules, TOPLAS 1983). Each side counts what it has sent or taken, releasing what it did to the
// places before, and acquires the other's count; its own it reads relaxed.
class EdgeMailbox {
 public:
  // `from`, in from-space, is what `edge` named when it was found.
  struct Message {
    uintptr_t edge;
    copyspace::Reference from;
  };

  // `capacity` is a power of two.
  explicit EdgeMailbox(uint32_t capacity)
      : mask_(capacity - 1), messages_(std::make_unique<Message[]>(capacity)) {
    DCHECK_EQ(capacity & mask_, 0u);
  }
  EdgeMailbox(const EdgeMailbox&) = delete;
  EdgeMailbox& operator=(const EdgeMailbox&) = delete;

  // The sender's. False, and nothing is sent, while the mailbox is full.
  bool TrySend(Message message) {
    const uint32_t sent = sent_.load(std::memory_order_relaxed);
    if (sent - seen_taken_ > mask_) [[unlikely]] {
      // Acquire: pairs with Take's release; the places have been read and may be written again.
      seen_taken_ = taken_.load(std::memory_order_acquire);
      if (sent - seen_taken_ > mask_) return false;
    }
    messages_[sent & mask_] = message;
    // Release: publishes the message. Pairs with the acquire in waiting().
    sent_.store(sent + 1, std::memory_order_release);
    return true;
  }

  // The sender's: all that was sent has been taken. Acquire: the receiver became active before it
  // took anything, and the sender, who goes idle after this, must not be counted out before that.
  bool all_taken() const {
    return taken_.load(std::memory_order_acquire) == sent_.load(std::memory_order_relaxed);
  }

  // The receiver's: how many messages wait.
  uint32_t waiting() const {
    return sent_.load(std::memory_order_acquire) - taken_.load(std::memory_order_relaxed);
  }
  // The receiver's: the `i`th of those that wait, from 0.
  const Message& Peek(uint32_t i) const {
    return messages_[(taken_.load(std::memory_order_relaxed) + i) & mask_];
  }
  // The receiver's: it is done with the first `count` of those that wait.
  void Take(uint32_t count) {
    // Release: the places may be written again. Pairs with the acquires of the sender.
    taken_.store(taken_.load(std::memory_order_relaxed) + count, std::memory_order_release);
  }

  platform::Bytes memory() const {
    return platform::Bytes(static_cast<int64_t>(sizeof(*this) + (mask_ + 1) * sizeof(Message)));
  }

 private:
  const uint32_t mask_;
  const std::unique_ptr<Message[]> messages_;
  alignas(ABSL_CACHELINE_SIZE) std::atomic<uint32_t> sent_{0};
  uint32_t seen_taken_ = 0;  // the sender's: taken_ when it last looked
  alignas(ABSL_CACHELINE_SIZE) std::atomic<uint32_t> taken_{0};
};

}  // namespace ebb::internal

#endif  // EBB_HEAP_EDGE_MAILBOX_H_
