// Large and pinned objects: they stay where they are, live while reachable, and their memory is
// given back. Runs as it is and under stress modes.

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <utility>

#include "gtest/gtest.h"
#include "heap/heap_fixture_for_test.h"
#include "heap/heap_for_test.h"

namespace ebb {

// May be small, pinned, or (with its array) large.
struct InPlaceTestHolder {
  Field<RefArray<InPlaceTestHolder>> array;
  Field<InPlaceTestHolder> next;
  int64_t value = 0;
};

template <size_t kWords>
struct InPlaceTestSized {
  std::array<uint64_t, kWords> words = {};
};

namespace {

using Holder = InPlaceTestHolder;

template <typename H>
uintptr_t AddressOf(const H& handle) {
  return reinterpret_cast<uintptr_t>(handle.get());
}

class InPlaceTest : public HeapTest {
 protected:
  static constexpr int64_t kMiB = 1 << 20;

  int64_t heap_bytes() const { return heap_->stats().heap_bytes; }
  int64_t large_bytes() const { return heap_->stats().large_bytes; }
  int64_t pinned_bytes() const { return heap_->stats().pinned_bytes; }
};

TEST_F(InPlaceTest, LargeObjectsKeepTheirAddressAndContents) {
  Local<Array<int64_t>> array(mutator_, mutator_.NewArray<int64_t>(5'000));
  for (size_t i = 0; i < 5'000; ++i) (*array)[i] = static_cast<int64_t>(i);
  const uintptr_t address = AddressOf(array);
  for (int round = 0; round < 3; ++round) {
    Collect();
    EXPECT_EQ(AddressOf(array), address);
    EXPECT_EQ(large_bytes(), 5'000 * 8 + 16);
  }
  for (size_t i = 0; i < 5'000; ++i) ASSERT_EQ((*array)[i], static_cast<int64_t>(i));
}

TEST_F(InPlaceTest, TheThresholdIsAnOption) {
  Options options;
  options.max_bytes = 4 << 20;
  options.large_object_bytes = 1 << 10;
  auto heap = NewHeap(options);
  Mutator mutator(*heap);
  Local<Array<char>> at(mutator, mutator.NewArray<char>(1024 - 16));
  EXPECT_EQ(heap->stats().large_bytes, 0);
  Local<Array<char>> above(mutator, mutator.NewArray<char>(1024 - 15));
  EXPECT_EQ(heap->stats().large_bytes, 1032);
}

TEST_F(InPlaceTest, LargeObjectsLiveByFieldsAndDieWithThem) {
  Local<Holder> holder(mutator_, mutator_.New<Holder>());
  const int64_t before = heap_bytes();
  holder->array = mutator_.NewRefArray<Holder>(500'000);
  EXPECT_GE(heap_bytes(), before + 3 * kMiB);
  const uintptr_t address = AddressOf(holder->array);
  Collect();
  EXPECT_EQ(AddressOf(holder->array), address);
  EXPECT_EQ(holder->array->size(), 500'000u);
  holder->array = nullptr;
  Collect();
  EXPECT_EQ(large_bytes(), 0);
  EXPECT_LE(heap_bytes(), before + kMiB);
}

TEST_F(InPlaceTest, LargeArraysKeepTheirElementsAlive) {
  Local<RefArray<Holder>> array(mutator_, mutator_.NewRefArray<Holder>(3'000));
  for (size_t i = 0; i < 3'000; i += 50) {
    (*array)[i] = mutator_.New<Holder>(nullptr, nullptr, static_cast<int64_t>(i));
  }
  for (int round = 0; round < 3; ++round) {
    Collect();
    for (size_t i = 0; i < 3'000; ++i) {
      if (i % 50 == 0) {
        ASSERT_EQ((*array)[i]->value, static_cast<int64_t>(i));
      } else {
        ASSERT_EQ((*array)[i], nullptr);
      }
    }
  }
}

// Sixty times four MiB are more than the 64 MiB of address space that this heap has for them.
TEST_F(InPlaceTest, AddressSpaceOfLargeObjectsIsUsedAgain) {
  for (int i = 0; i < 60; ++i) {
    Ref<Array<int64_t>> array = mutator_.NewArray<int64_t>((4 << 20) / 8);
    ASSERT_EQ((*array)[0], 0);
    ASSERT_EQ((*array)[array->size() - 1], 0);
    (*array)[0] = 1;
    (*array)[array->size() - 1] = 1;
  }
  Collect();
  EXPECT_EQ(large_bytes(), 0);
}

TEST_F(InPlaceTest, LargeObjectsOfManySizesComeAndGo) {
  constexpr size_t kCount = 24;
  Local<RefArray<Array<uint64_t>>> arrays(mutator_, mutator_.NewRefArray<Array<uint64_t>>(kCount));
  std::map<size_t, uintptr_t> addresses;
  for (size_t round = 0; round < 6; ++round) {
    for (size_t i = 0; i < kCount; ++i) {
      const size_t length = 1'100 + 700 * ((i * 7 + round) % 13);
      if (i % 3 != round % 3 && (*arrays)[i] != nullptr) continue;
      (*arrays)[i] = mutator_.NewArray<uint64_t>(length);
      addresses[i] = AddressOf((*arrays)[i]);
      for (uint64_t& word : *(*arrays)[i]) {
        ASSERT_EQ(word, 0u);
        word = addresses[i];
      }
    }
    Collect();
    for (size_t i = 0; i < kCount; ++i) {
      ASSERT_EQ(AddressOf((*arrays)[i]), addresses[i]);
      for (uint64_t word : *(*arrays)[i]) ASSERT_EQ(word, addresses[i]);
    }
  }
}

TEST_F(InPlaceTest, PinnedObjectsKeepTheirAddress) {
  Local<Holder> pinned(mutator_, mutator_.NewPinned<Holder>(nullptr, nullptr, 7));
  Local<Holder> moving(mutator_, mutator_.New<Holder>(nullptr, pinned, 8));
  pinned->next = moving;
  const uintptr_t address = AddressOf(pinned);
  EXPECT_EQ(address % 16, 0u);
  for (int round = 0; round < 4; ++round) {
    Collect();
    EXPECT_EQ(AddressOf(pinned), address);
    EXPECT_EQ(pinned->next, moving);
    EXPECT_EQ(moving->next->value, 7);
  }
  pinned = nullptr;
  Collect();
  EXPECT_EQ(AddressOf(moving->next), address);
}

template <size_t kWords>
void KeepsAddressAndContents(Heap& heap, Mutator& mutator) {
  using T = InPlaceTestSized<kWords>;
  std::array<uintptr_t, 3> addresses = {};
  Local<RefArray<T>> objects(mutator, mutator.NewRefArray<T>(addresses.size()));
  for (size_t i = 0; i < addresses.size(); ++i) {
    (*objects)[i] = mutator.NewPinned<T>();
    addresses[i] = AddressOf((*objects)[i]);
    EXPECT_EQ(addresses[i] % 16, 0u) << kWords;
    (*objects)[i]->words.fill(addresses[i]);
  }
  ASSERT_TRUE(heap.Collect().ok());
  absl::Status status = heap.Verify();
  ASSERT_TRUE(status.ok()) << status;
  for (size_t i = 0; i < addresses.size(); ++i) {
    EXPECT_EQ(AddressOf((*objects)[i]), addresses[i]) << kWords;
    for (uint64_t word : (*objects)[i]->words) ASSERT_EQ(word, addresses[i]) << kWords;
  }
}

template <size_t... kWords>
void KeepAddressesAndContents(Heap& heap, Mutator& mutator, std::index_sequence<kWords...>) {
  (KeepsAddressAndContents<kWords>(heap, mutator), ...);
}

// Up to the largest cell and beyond, where a pinned object is a large one.
TEST_F(InPlaceTest, PinnedObjectsOfManySizes) {
  KeepAddressesAndContents(
      *heap_, mutator_,
      std::index_sequence<1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 13, 15, 16, 17, 31, 32, 33, 100, 255, 256,
                          1000, 2000, 3000, 3900, 3966, 3967, 3968, 3969, 4000, 5000>());
  Collect();
  EXPECT_EQ(pinned_bytes(), 0);
  EXPECT_EQ(large_bytes(), 0);
}

TEST_F(InPlaceTest, MemoryOfPinnedObjectsIsGivenBack) {
  Collect();
  const int64_t before = heap_bytes();
  const size_t count = heap_->options().stress.collect_every == 0 ? 20'000 : 200;
  {
    Local<Holder> list(mutator_);
    for (size_t i = 0; i < count; ++i) {
      list = mutator_.NewPinned<Holder>(nullptr, list, static_cast<int64_t>(i));
    }
    Collect();
    EXPECT_EQ(pinned_bytes(), static_cast<int64_t>(count) * 32);
    EXPECT_GE(heap_bytes(), before + pinned_bytes());
    size_t i = count;
    for (Ref<Holder> at = list; at != nullptr; at = at->next) {
      ASSERT_EQ(at->value, static_cast<int64_t>(--i));
    }
    EXPECT_EQ(i, 0u);
  }
  Collect();
  EXPECT_EQ(pinned_bytes(), 0);
  EXPECT_LE(heap_bytes(), before);
}

// Cells of dead objects are used again before new memory is.
TEST_F(InPlaceTest, CellsOfPinnedObjectsAreUsedAgain) {
  Local<Holder> keep(mutator_, mutator_.NewPinned<Holder>());
  for (int round = 0; round < 50; ++round) {
    for (int i = 0; i < 20; ++i) mutator_.NewPinned<Holder>();
    ASSERT_TRUE(heap_->Collect().ok());
    EXPECT_EQ(pinned_bytes(), 32);
  }
  Local<Holder> next(mutator_, mutator_.NewPinned<Holder>());
  EXPECT_EQ(next->array, nullptr);
  EXPECT_EQ(AddressOf(next) & ~uintptr_t{0xffff}, AddressOf(keep) & ~uintptr_t{0xffff});
}

TEST_F(InPlaceTest, CyclesOfPinnedLargeAndMovingObjectsAreCollected) {
  Collect();
  const int64_t before = heap_bytes();
  {
    Local<Holder> pinned(mutator_, mutator_.NewPinned<Holder>());
    pinned->array = mutator_.NewRefArray<Holder>(100'000);
    (*pinned->array)[99'999] = pinned;
    pinned->next = mutator_.New<Holder>(pinned->array, pinned, 1);
    (*pinned->array)[0] = pinned->next;
    Collect();
    EXPECT_EQ((*pinned->next->array)[99'999], pinned);
    EXPECT_GT(large_bytes(), 800'000);
    EXPECT_GT(pinned_bytes(), 0);
  }
  Collect();
  EXPECT_EQ(large_bytes(), 0);
  EXPECT_EQ(pinned_bytes(), 0);
  EXPECT_EQ(heap_->stats().live_bytes, 0);
  EXPECT_LE(heap_bytes(), before + (256 << 10));
}

}  // namespace
}  // namespace ebb
