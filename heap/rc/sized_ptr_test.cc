// Counted objects with extra bytes. Runs as it is and under stress modes.

#include "heap/rc/sized_ptr.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/synchronization/notification.h"
#include "absl/types/span.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "heap/rc/counted_for_test.h"

namespace ebb::rc {

// References of both kinds, between and after plain members.
struct SizedBuffer {
  int64_t name = 0;
  ebb::Field<Node> traced;
  int32_t a = 1, b = 2;
  Field<SizedBuffer> next;
  ebb::Field<Node> traced_too;
};

// Adds up its bytes when it is destroyed.
struct SizedSummed {
  std::vector<int64_t>* log = nullptr;

  ~SizedSummed() {
    int64_t sum = 0;
    for (const std::byte byte : ExtraBytes(this)) sum += static_cast<int64_t>(byte);
    if (log != nullptr) log->push_back(sum);
  }
};

// Grows when it is finalized, and is kept.
struct SizedFinalized {
  Ptr<SizedFinalized>* kept = nullptr;

  static void Finalize(Ptr<SizedFinalized> self) {
    const absl::Status status = Resize(self, ExtraBytes(self).size() + 5000);
    EXPECT_TRUE(status.ok()) << status;
    Ptr<SizedFinalized>& kept = *self->kept;
    kept = std::move(self);
  }
};

struct SizedDerived : Link {
  int64_t own = 5;
  EBB_FIELDS(SizedDerived, next, other, value, own)
};

struct alignas(16) SizedWide {
  int64_t x = 1;
  int64_t y = 2;
};

namespace {

using ::testing::HasSubstr;

using Buffer = SizedBuffer;

template <typename T>
void Fill(const Ptr<T>& object, uint8_t value) {
  for (std::byte& byte : ExtraBytes(object)) byte = std::byte{value};
}

template <typename T>
bool AreAll(const Ptr<T>& object, size_t begin, size_t end, uint8_t value) {
  const auto bytes = ExtraBytes(object).subspan(begin, end - begin);
  return std::all_of(bytes.begin(), bytes.end(),
                     [=](std::byte b) { return b == std::byte{value}; });
}

void Collect(Heap& heap) {
  ASSERT_TRUE(heap.Collect().ok());
  const absl::Status status = heap.Verify();
  ASSERT_TRUE(status.ok()) << status;
}

// With a leaf of each kind that says its name.
Ptr<Buffer> NewBuffer(Counting& c, int64_t name, size_t bytes) {
  Ptr<Buffer> leaf = MakePtr<Buffer>(name);
  const Ref<Node> node = c.mutator.New<Node>(nullptr, nullptr, name);
  Ptr<Buffer> buffer = MakePtrWithBytes<Buffer>(bytes, name, node, 3, 4, std::move(leaf));
  buffer->traced_too = c.mutator.New<Node>(nullptr, nullptr, -name);
  return buffer;
}

void ExpectIntact(const Ptr<Buffer>& buffer, int64_t name) {
  EXPECT_EQ(buffer->name, name);
  EXPECT_EQ(buffer->traced->value, name);
  EXPECT_EQ(buffer->a + buffer->b, 7);
  EXPECT_EQ(buffer->next->name, name);
  EXPECT_EQ(buffer->traced_too->value, -name);
}

TEST(SizedPtrTest, BytesGoWithTheirObjects) {
  Counting c;
  std::vector<Ptr<Buffer>> buffers;
  for (int64_t n = 0; n < 60; ++n) {
    buffers.push_back(NewBuffer(c, n, static_cast<size_t>(n)));
    EXPECT_TRUE(AreAll(buffers.back(), 0, static_cast<size_t>(n), 0));
    Fill(buffers.back(), static_cast<uint8_t>(n));
    MakePtrWithBytes<Buffer>(static_cast<size_t>(n) * 3);  // garbage between them
  }
  for (int round = 0; round < 3; ++round) {
    Collect(*c.heap);
    for (size_t n = 0; n < buffers.size(); ++n) {
      ExpectIntact(buffers[n], static_cast<int64_t>(n));
      ASSERT_EQ(ExtraBytes(buffers[n]).size(), n);
      ASSERT_TRUE(AreAll(buffers[n], 0, n, static_cast<uint8_t>(n)));
    }
  }
  EXPECT_EQ(c.alive(), 120);
  buffers.clear();
  EXPECT_EQ(c.alive(), 0);
}

TEST(SizedPtrTest, NoneOfOtherObjects) {
  Counting c;
  Ptr<Link> link = MakePtr<Link>();
  EXPECT_TRUE(ExtraBytes(link).empty());
  EXPECT_TRUE(ExtraBytes(link.get()).empty());
  EXPECT_TRUE(ExtraBytes(Ptr<Link>()).empty());
  EXPECT_TRUE(ExtraBytes(MakePtrWithBytes<Link>(0)).empty());
}

TEST(SizedPtrTest, OfAnyReference) {
  Counting c;
  Ptr<Link> link = MakePtr<Link>(MakePtrWithBytes<SizedDerived>(11));
  EXPECT_EQ(ExtraBytes(link->next).size(), 11u);
  EXPECT_EQ(ExtraBytes(link->next.get()).size(), 11u);
  const AnyPtr any(link->next);
  EXPECT_EQ(ExtraBytes(any).size(), 11u);
  EXPECT_EQ(any.As<SizedDerived>(), link->next);
  AnyPtr only(MakePtrWithBytes<SizedDerived>(3));
  ASSERT_TRUE(Resize(only, 70).ok());
  EXPECT_EQ(ExtraBytes(only).size(), 70u);
  EXPECT_EQ(only.As<SizedDerived>()->own, 5);
}

TEST(SizedPtrTest, DestructorsSeeThem) {
  Counting c;
  std::vector<int64_t> log;
  Ptr<SizedSummed> summed = MakePtrWithBytes<SizedSummed>(10, &log);
  Fill(summed, 3);
  Collect(*c.heap);
  ASSERT_TRUE(Resize(summed, 1000).ok());
  ASSERT_TRUE(Resize(summed, 9).ok());
  EXPECT_TRUE(log.empty());  // what moves is not destroyed
  summed = nullptr;
  EXPECT_EQ(log, std::vector<int64_t>({27}));
}

TEST(SizedPtrTest, KeepsWhatThereIsRoomFor) {
  Counting c;
  Ptr<Buffer> buffer = NewBuffer(c, 7, 10);
  Fill(buffer, 0xaa);
  ASSERT_TRUE(Resize(buffer, 14).ok());
  EXPECT_TRUE(AreAll(buffer, 0, 10, 0xaa) && AreAll(buffer, 10, 14, 0));
  Fill(buffer, 0xbb);
  ASSERT_TRUE(Resize(buffer, 11).ok());
  ASSERT_TRUE(Resize(buffer, 16).ok());  // within its last word
  EXPECT_TRUE(AreAll(buffer, 0, 11, 0xbb) && AreAll(buffer, 11, 16, 0));
  Collect(*c.heap);
  EXPECT_TRUE(AreAll(buffer, 0, 11, 0xbb) && AreAll(buffer, 11, 16, 0));
  ASSERT_TRUE(Resize(buffer, 0).ok());
  EXPECT_TRUE(ExtraBytes(buffer).empty());
  ASSERT_TRUE(Resize(buffer, 20).ok());
  EXPECT_TRUE(AreAll(buffer, 0, 20, 0));
  ExpectIntact(buffer, 7);
  EXPECT_EQ(buffer.use_count(), 1);
  EXPECT_EQ(c.alive(), 2);
}

// To the heap's large objects, which are old, and back.
TEST(SizedPtrTest, LargeAndSmall) {
  Counting c;
  Ptr<Buffer> buffer = NewBuffer(c, 9, 100);
  Fill(buffer, 0x11);
  for (int round = 0; round < 3; ++round) {
    ASSERT_TRUE(Resize(buffer, 300'000).ok());
    EXPECT_GE(c.heap->stats().large_bytes, 300'000);
    EXPECT_TRUE(AreAll(buffer, 0, 100, 0x11) && AreAll(buffer, 100, 300'000, 0));
    Fill(buffer, 0x11);
    buffer->traced = c.mutator.New<Node>(nullptr, nullptr, 9);
    ASSERT_TRUE(c.heap->Verify().ok());  // the old object's young references are remembered
    ASSERT_TRUE(Resize(buffer, 400'000).ok());
    ASSERT_TRUE(c.heap->Verify().ok());
    Collect(*c.heap);
    EXPECT_TRUE(AreAll(buffer, 0, 300'000, 0x11) && AreAll(buffer, 300'000, 400'000, 0));
    ExpectIntact(buffer, 9);
    ASSERT_TRUE(Resize(buffer, 100).ok());
    EXPECT_TRUE(AreAll(buffer, 0, 100, 0x11));
    ExpectIntact(buffer, 9);
    Collect(*c.heap);
  }
}

TEST(SizedPtrTest, SixteenByteAlignment) {
  Counting c;
  std::vector<Ptr<SizedWide>> wides;
  for (size_t i = 0; i < 10; ++i) {
    wides.push_back(i % 2 == 0 ? MakePtr<SizedWide>() : MakePtrWithBytes<SizedWide>(i));
    MakePtr<Link>();
    ASSERT_TRUE(Resize(wides[i], i + 20).ok());
    Fill(wides[i], 0x77);
  }
  for (size_t i = 0; i < wides.size(); ++i) {
    EXPECT_EQ(reinterpret_cast<uintptr_t>(wides[i].get()) % 16, 0u);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(ExtraBytes(wides[i]).data()) % 16, 0u);
    EXPECT_EQ(wides[i]->x + wides[i]->y, 3);
    EXPECT_TRUE(AreAll(wides[i], 0, i + 20, 0x77));
  }
}

TEST(SizedPtrTest, ObjectsMadeWithoutBytesMayGetSome) {
  Counting c;
  Ptr<Link> link = MakePtr<Link>(MakePtr<Link>(nullptr, nullptr, 2), nullptr, 1);
  ASSERT_TRUE(Resize(link, 0).ok());
  EXPECT_TRUE(ExtraBytes(link).empty());
  ASSERT_TRUE(Resize(link->next, 30).ok());  // by a Field
  ASSERT_TRUE(Resize(link, 40).ok());
  Fill(link, 0x44);
  Collect(*c.heap);
  EXPECT_TRUE(AreAll(link, 0, 40, 0x44));
  EXPECT_EQ(ExtraBytes(link->next).size(), 30u);
  EXPECT_EQ(link->value, 1);
  EXPECT_EQ(link->next->value, 2);
}

// Random sizes against vectors of bytes, beside cycles.
TEST(SizedPtrTest, AgreesWithVectors) {
  Counting c;
  constexpr size_t kBuffers = 8;
  std::mt19937_64 random(5);
  std::vector<Ptr<Buffer>> buffers;
  std::vector<std::vector<uint8_t>> model(kBuffers);
  for (size_t i = 0; i < kBuffers; ++i) {
    buffers.push_back(NewBuffer(c, static_cast<int64_t>(i), 0));
  }
  for (int step = 0; step < 300; ++step) {
    const size_t i = random() % kBuffers;
    const size_t most = random() % 20 == 0 ? 20'000 : random() % 3 == 0 ? 300 : 12;
    const size_t bytes = random() % most;
    ASSERT_TRUE(Resize(buffers[i], bytes).ok());
    model[i].resize(bytes);
    const absl::Span<std::byte> now = ExtraBytes(buffers[i]);
    ASSERT_EQ(now.size(), bytes);
    ASSERT_TRUE(std::equal(now.begin(), now.end(), model[i].begin(),
                           [](std::byte a, uint8_t b) { return a == std::byte{b}; }));
    for (size_t at = 0; at < bytes; ++at) {
      now[at] = std::byte{model[i][at] = static_cast<uint8_t>(random())};
    }
    if (step % 25 == 0) Collect(*c.heap);
    ExpectIntact(buffers[i], static_cast<int64_t>(i));
  }
  EXPECT_EQ(c.alive(), static_cast<int64_t>(2 * kBuffers));
}

TEST(SizedPtrTest, CyclesOfThemAreFound) {
  Counting c;
  constexpr int64_t kRings = 20;
  Ptr<Buffer> outside = MakePtrWithBytes<Buffer>(10, 1);
  for (int64_t i = 0; i < kRings; ++i) {
    Ptr<Buffer> first = MakePtrWithBytes<Buffer>(17, i);
    ASSERT_TRUE(Resize(first, 40).ok());
    first->next = MakePtrWithBytes<Buffer>(50, i);
    first->next->next = MakePtr<Buffer>(i);
    ASSERT_TRUE(Resize(first->next->next, 60).ok());
    first->next->next->next = first;
  }
  outside->next = MakePtrWithBytes<Buffer>(20, 2);
  outside->next->next = outside;
  EXPECT_EQ(rc::Collect(c).collected, 3 * kRings);
  EXPECT_EQ(c.alive(), 2);
  EXPECT_EQ(outside->next->name, 2);
  outside = nullptr;
  EXPECT_EQ(rc::Collect(c).collected, 2);
  EXPECT_EQ(c.alive(), 0);
}

TEST(SizedPtrTest, FinalizersMayResize) {
  Counting c;
  Ptr<SizedFinalized> kept;
  MakePtrWithBytes<SizedFinalized>(30, &kept);  // dropped at once
  EXPECT_FALSE(c.owner.Step());
  ASSERT_NE(kept, nullptr);
  EXPECT_EQ(ExtraBytes(kept).size(), 5030u);
  kept = nullptr;
  EXPECT_EQ(c.alive(), 0);
}

void ExpectRefused(const absl::Status& status, const std::string& remedy) {
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(remedy));
}

TEST(SizedPtrTest, OthersReferToIt) {
  Counting c;
  Ptr<Link> link = MakePtrWithBytes<Link>(10);
  {
    Ptr<Link> copy = link;
    ExpectRefused(Resize(link, 20), "drop all other references first");
    copy = nullptr;
    const Weak<Link> weak = link;
    ExpectRefused(Resize(link, 20), "drop all other references first");
  }
  ASSERT_TRUE(Resize(link, 20).ok());
  {
    const WeakCallback told(link, [] {});
    ExpectRefused(Resize(link, 10), "WeakCallback");
  }
  ASSERT_TRUE(Resize(link, 10).ok());
  Ptr<Link> holder = MakePtr<Link>(link);
  ExpectRefused(Resize(link, 20), "there were 2 counted ones");
  link = nullptr;
  ASSERT_TRUE(Resize(holder->next, 20).ok());
  link = std::move(holder->next);
  link.MakeImmortal();
  ExpectRefused(Resize(link, 30), "immortal");
  EXPECT_EQ(ExtraBytes(link).size(), 20u);
}

TEST(SizedPtrTest, ALocalNamesIt) {
  Counting c;
  Ptr<Link> link = MakePtrWithBytes<Link>(10);
  {
    const Local<Link> local(c.owner, link);
    ExpectRefused(Resize(link, 20), "rc::Local");
    link = nullptr;  // it waits for the Local's end
    link = local;
    ExpectRefused(Resize(link, 20), "rc::Local");
  }
  ASSERT_TRUE(Resize(link, 20).ok());
  const Local<Link> other(c.owner, MakePtr<Link>());
  ASSERT_TRUE(Resize(link, 30).ok());
  EXPECT_EQ(ExtraBytes(link).size(), 30u);
}

TEST(SizedPtrTest, ALocalOfAnotherThreadNamesIt) {
  Counting c;
  Ptr<Link> link = MakePtrWithBytes<Link>(10);
  absl::Notification named, tried;
  std::thread other([&] {
    Mutator mutator(*c.heap);
    Owner owner(c.domain, mutator);
    const Local<Link> local(owner, link);
    named.Notify();
    const Blocking scope(mutator);
    tried.WaitForNotification();
  });
  {
    const Blocking scope(c.mutator);
    named.WaitForNotification();
  }
  ExpectRefused(Resize(link, 20), "rc::Local");
  tried.Notify();
  {
    const Blocking scope(c.mutator);
    other.join();
  }
  ASSERT_TRUE(Resize(link, 20).ok());
}

TEST(SizedPtrTest, MisuseIsTold) {
  Counting c;
  Ptr<Link> link = MakePtrWithBytes<Link>(10);
  Ptr<Link> null;
  EXPECT_TRUE(absl::IsInvalidArgument(Resize(null, 10)));
  {
    const NoSafepoint scope(c.mutator);
    ExpectRefused(Resize(link, 20), "NoSafepoint");
    ExpectRefused(Resize(link, 10), "NoSafepoint");
  }
  {
    const Blocking scope(c.mutator);
    ExpectRefused(Resize(link, 20), "Blocking");
    EXPECT_THROW(MakePtrWithBytes<Link>(10), MisuseError);
  }
  Ptr<Link> base = MakePtr<SizedDerived>();
  ExpectRefused(Resize(base, 20), "a reference to its own type");
  base = MakePtrWithBytes<SizedDerived>(0);
  ASSERT_TRUE(Resize(base, 20).ok());
  EXPECT_EQ(static_cast<SizedDerived*>(base.get())->own, 5);
  std::thread([&] {
    EXPECT_THROW(MakePtrWithBytes<Link>(10), MisuseError);
    ExpectRefused(Resize(link, 20), "without an Owner");
  }).join();
  EXPECT_EQ(ExtraBytes(link).size(), 10u);
}

TEST(SizedPtrTest, ItsDomainHasGone) {
  std::unique_ptr<Heap> heap = NewHeap();
  const Mutator mutator(*heap);
  Ptr<Link> link;
  {
    Domain domain(*heap);
    Mutator inner(*heap);
    Owner owner(domain, inner);
    link = MakePtrWithBytes<Link>(10);
  }
  EXPECT_TRUE(ExtraBytes(link).empty());
  ExpectRefused(Resize(link, 20), "without an Owner");
}

// Nothing is lost of an object for which there is no room.
TEST(SizedPtrTest, TooManyBytes) {
  Counting c;
  Ptr<Buffer> buffer = NewBuffer(c, 3, 10);
  Fill(buffer, 0x33);
  for (const size_t bytes :
       {size_t{64} << 20, size_t{1} << 50, std::numeric_limits<size_t>::max()}) {
    const absl::Status status = Resize(buffer, bytes);
    EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
    EXPECT_THROW(MakePtrWithBytes<Buffer>(bytes), HeapExhausted);
    EXPECT_EQ(TryMakePtrWithBytes<Buffer>(bytes).status().code(),
              absl::StatusCode::kResourceExhausted);
    ExpectIntact(buffer, 3);
    EXPECT_EQ(ExtraBytes(buffer).size(), 10u);
    EXPECT_TRUE(AreAll(buffer, 0, 10, 0x33));
    EXPECT_EQ(buffer.use_count(), 1);
  }
  EXPECT_EQ(c.alive(), 2);
  ASSERT_TRUE(Resize(buffer, 20).ok());
}

// Who has it now asks who made it.
TEST(SizedPtrTest, HandedOverByItsOwner) {
  Counting c;
  Ptr<Buffer> buffer = NewBuffer(c, 4, 10);
  Fill(buffer, 0x22);
  RunOwner(c, [&] { ExpectRefused(Resize(buffer, 20), "try again after that"); });
  RunOwner(c, [&] { ExpectRefused(Resize(buffer, 20), "try again after that"); });
  EXPECT_EQ(ExtraBytes(buffer).size(), 10u);
  EXPECT_FALSE(c.owner.Step());
  RunOwner(c, [&] { ASSERT_TRUE(Resize(buffer, 20).ok()); });
  EXPECT_TRUE(AreAll(buffer, 0, 10, 0x22) && AreAll(buffer, 10, 20, 0));
  ExpectIntact(buffer, 4);
  ASSERT_TRUE(Resize(buffer, 30).ok());
  buffer = nullptr;
  EXPECT_EQ(c.alive(), 0);
}

TEST(SizedPtrTest, LeftByItsOwner) {
  Counting c;
  Ptr<Buffer> buffer;
  RunOwner(c, [&] {
    buffer = MakePtrWithBytes<Buffer>(10, 6);
    Fill(buffer, 0x66);
  });
  ASSERT_TRUE(Resize(buffer, 20).ok());
  EXPECT_TRUE(AreAll(buffer, 0, 10, 0x66) && AreAll(buffer, 10, 20, 0));
  EXPECT_EQ(buffer->name, 6);
  EXPECT_EQ(buffer.use_count(), 1);
  buffer = nullptr;
  EXPECT_EQ(c.alive(), 0);
}

// What another thread has dropped, this one's queue may still have.
TEST(SizedPtrTest, DroppedByAnotherThread) {
  Counting c;
  Ptr<Buffer> buffer = NewBuffer(c, 8, 10);
  RunOwner(c, [copy = buffer]() mutable { copy = nullptr; });
  ASSERT_TRUE(Resize(buffer, 5000).ok());
  ExpectIntact(buffer, 8);
}

}  // namespace
}  // namespace ebb::rc
