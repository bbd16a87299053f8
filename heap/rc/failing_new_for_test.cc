#include "heap/rc/failing_new_for_test.h"

#include <cstddef>
#include <cstdlib>
#include <new>

namespace {

// No objects with constructors: threads allocate before they have run.
thread_local bool armed = false;
thread_local bool fails_forever = false;
thread_local bool failed = false;
thread_local int64_t before_failing = 0;

bool Fails() {
  if (!armed || before_failing-- > 0) return false;
  armed = fails_forever;
  failed = true;
  return true;
}

}  // namespace

// What throws and what does not, since a sanitizer has its own of those that are not replaced.
void* operator new(size_t size, const std::nothrow_t&) noexcept {
  return Fails() ? nullptr : std::malloc(size);
}
void* operator new(size_t size) {
  void* const memory = ::operator new(size, std::nothrow);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }

namespace ebb {

FailingNew::FailingNew(int64_t after, bool forever) {
  before_failing = after;
  fails_forever = forever;
  failed = false;
  armed = true;
}

FailingNew::~FailingNew() { armed = false; }

bool FailingNew::has_failed() { return failed; }

}  // namespace ebb
