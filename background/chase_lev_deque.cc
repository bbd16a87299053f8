#include "background/chase_lev_deque.h"

#include <algorithm>
#include <bit>
#include <memory>
#include <new>

#include "absl/log/check.h"

namespace ebb::background {
namespace {

// Keeps sizes in bytes far from overflow.
constexpr size_t kMostCapacity = size_t{1} << 48;

int64_t RoundedDown(size_t capacity) {
  return static_cast<int64_t>(std::bit_floor(std::min(capacity, kMostCapacity)));
}

int64_t RoundedUp(size_t capacity) {
  return static_cast<int64_t>(std::bit_ceil(std::clamp(capacity, size_t{1}, kMostCapacity)));
}

}  // namespace

constinit ChaseLevDeque::Array ChaseLevDeque::no_array_;

ChaseLevDeque::Array* ChaseLevDeque::Array::New(int64_t capacity, Array* older) {
  static_assert(alignof(std::atomic<uint64_t>) <= alignof(Array));
  static_assert(sizeof(Array) % alignof(std::atomic<uint64_t>) == 0);
  const platform::Bytes size(static_cast<int64_t>(sizeof(Array)) +
                             capacity * static_cast<int64_t>(sizeof(std::atomic<uint64_t>)));
  void* memory = ::operator new(size.size(), std::nothrow);
  if (memory == nullptr) return nullptr;
  Array* array = new (memory) Array();
  array->capacity_ = capacity;
  array->older_ = older;
  array->memory_with_older_ =
      size + (older == nullptr ? platform::Bytes() : older->memory_with_older());
  std::uninitialized_default_construct_n(array->slots(), capacity);
  return array;
}

void ChaseLevDeque::Array::Delete(Array* array) {
  if (array != &no_array_) ::operator delete(array);
}

ChaseLevDeque::ChaseLevDeque(size_t initial_capacity, size_t max_capacity)
    : max_capacity_(RoundedDown(max_capacity)),
      initial_capacity_(std::min(RoundedUp(initial_capacity), max_capacity_)) {
  MakeRoom(0);
}

ChaseLevDeque::~ChaseLevDeque() {
  // Relaxed: no other thread uses the deque.
  Array* array = array_.load(std::memory_order_relaxed);
  while (array != nullptr) {
    Array* older = array->older();
    Array::Delete(array);
    array = older;
  }
}

bool ChaseLevDeque::MakeRoom(int64_t bottom) {
  const int64_t top = top_.load(std::memory_order_acquire);  // (d)
  Array* array = array_.load(std::memory_order_relaxed);     // (f)
  push_limit_ = top + array->capacity();
  if (bottom < push_limit_) return true;
  if (array->capacity() >= max_capacity_) return false;

  const bool first = array == &no_array_;
  Array* grown = Array::New(first ? initial_capacity_ : array->capacity() * 2,
                            /*older=*/first ? nullptr : array);
  if (grown == nullptr) return false;
  for (int64_t i = top; i < bottom; ++i) grown->Put(i, array->Get(i));
  array_.store(grown, std::memory_order_release);  // (e)
  push_limit_ = top + grown->capacity();
  return true;
}

void ChaseLevDeque::ResetWhenQuiescent() {
  CHECK(EmptyHint()) << "a deque with " << SizeHint() << " elements is reset";
  // Relaxed, all: no other thread uses the deque, and whoever says so orders its users before and
  // after this one.
  Array* array = array_.load(std::memory_order_relaxed);
  while (array->older() != nullptr) {
    Array* older = array->older();
    Array::Delete(array);
    array = older;
  }
  // Relaxed: as above.
  array_.store(array, std::memory_order_relaxed);
  push_limit_ = top_.load(std::memory_order_relaxed) + array->capacity();
}

}  // namespace ebb::background
