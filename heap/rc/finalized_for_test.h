// What tests of finalizers share: objects that have one, and a book of what becomes of them.

#ifndef EBB_HEAP_RC_FINALIZED_FOR_TEST_H_
#define EBB_HEAP_RC_FINALIZED_FOR_TEST_H_

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "heap/rc/rc.h"

namespace ebb::rc {

struct Mourned;

using Lines = std::vector<std::string>;

// What is told of objects, and what their finalizers do.
struct Book {
  Lines lines;
  std::function<void(Ptr<Mourned>)> finalize;
  Ptr<Mourned> kept;
};

// Has a finalizer.
struct Mourned {
  Field<Mourned> next, other;
  Book* book = nullptr;
  int64_t name = 0;

  static void Finalize(Ptr<Mourned> self) {
    Book& book = *self->book;
    book.lines.push_back(absl::StrCat("finalize ", self->name));
    if (book.finalize) book.finalize(std::move(self));
  }
  ~Mourned() {
    if (book != nullptr) book->lines.push_back(absl::StrCat("destroy ", name));
  }
};

inline Ptr<Mourned> New(Book& book, int64_t name) {
  return MakePtr<Mourned>(nullptr, nullptr, &book, name);
}

// Objects `first` and on, each the next of the one before; the first is returned.
inline Ptr<Mourned> Ring(Book& book, int64_t first, int64_t length) {
  Ptr<Mourned> begin = New(book, first);
  Ptr<Mourned> last = begin;
  for (int64_t i = 1; i < length; ++i) last = last->next = New(book, first + i);
  last->next = begin;
  return begin;
}

}  // namespace ebb::rc

#endif  // EBB_HEAP_RC_FINALIZED_FOR_TEST_H_
