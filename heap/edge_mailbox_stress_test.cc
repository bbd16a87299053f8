// Two threads send to each other, as workers do: whoever finds the other's mailbox full takes from
// its own meanwhile. Nothing is lost, doubled or out of order, nobody waits for ever, and what a
// message leads to is seen as it was when it was sent.

#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "heap/edge_mailbox.h"

namespace ebb::internal {
namespace {

class Worker {
 public:
  Worker(EdgeMailbox& out, EdgeMailbox& in, size_t messages)
      : out_(out), in_(in), words_(messages) {}

  void Run() {
    for (uint64_t& word : words_) {
      word = ++stamp_;
      while (!out_.TrySend({reinterpret_cast<uintptr_t>(&word), stamp_})) Receive();
    }
    while (received_ < words_.size() || !out_.all_taken()) Receive();
  }
  uint64_t received() const { return received_; }
  int mistakes() const { return mistakes_; }

 private:
  void Receive() {
    const uint32_t count = in_.waiting();
    for (uint32_t i = 0; i < count; ++i) {
      const EdgeMailbox::Message message = in_.Peek(i);
      ++received_;
      // An ordinary word, which only the message publishes.
      const uint64_t word = *reinterpret_cast<const uint64_t*>(message.edge);
      if (message.from != received_ || word != received_) ++mistakes_;
    }
    in_.Take(count);
    if (count == 0) std::this_thread::yield();
  }

  EdgeMailbox& out_;
  EdgeMailbox& in_;
  std::vector<uint64_t> words_;
  uint64_t stamp_ = 0;
  uint64_t received_ = 0;
  int mistakes_ = 0;
};

TEST(EdgeMailboxStressTest, TwoWorkersSendToEachOther) {
  constexpr size_t kMessages = 200'000;
  for (uint32_t capacity : {1, 2, 64}) {
    EdgeMailbox there(capacity), back(capacity);
    Worker a(there, back, kMessages), b(back, there, kMessages);
    std::thread thread([&] { b.Run(); });
    a.Run();
    thread.join();
    EXPECT_EQ(a.received(), kMessages);
    EXPECT_EQ(b.received(), kMessages);
    EXPECT_EQ(a.mistakes() + b.mistakes(), 0);
  }
}

}  // namespace
}  // namespace ebb::internal
