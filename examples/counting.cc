// Counted references: objects that go when the last reference to them does. A document's sections
// own their parts, and a part knows its section by a weak reference.

#include <iostream>
#include <string_view>
#include <utility>

#include "absl/log/initialize.h"
#include "heap/ebb.h"
#include "heap/rc/rc.h"

namespace {

namespace rc = ebb::rc;

// [counting]
// A counted type may have a destructor; and it may hold traced references beside counted ones.
struct Part {
  rc::Field<Part> first, rest;
  rc::Weak<Part> owner;
  ebb::Field<ebb::String> title;
  ~Part() { std::cout << "a part goes\n"; }
};
// [/counting]

rc::Ptr<Part> NewPart(ebb::Mutator& mutator, std::string_view title, rc::Ptr<Part> rest) {
  return rc::MakePtr<Part>(nullptr, std::move(rest), nullptr, mutator.NewString(title));
}

}  // namespace

int main() {
  absl::InitializeLog();
  auto heap = ebb::Heap::Create({.max_bytes = 64 << 20});
  if (!heap.ok()) {
    std::cerr << heap.status() << "\n";
    return 1;
  }
  ebb::Mutator mutator(**heap);
  // [counting]
  rc::Domain domain(**heap);
  rc::Owner owner(domain, mutator);  // this thread makes counted objects

  rc::Ptr<Part> book = NewPart(mutator, "book", nullptr);
  // [/counting]
  book->first = NewPart(mutator, "first chapter", NewPart(mutator, "second chapter", nullptr));
  book->first->owner = book;

  rc::Ptr<Part> chapter = book->first;
  std::cout << chapter->title->view() << " of " << chapter->owner.Upgrade()->title->view() << "\n";
  std::cout << chapter.use_count() << " references\n";

  // [counting]
  book = nullptr;  // before the next statement
  // [/counting]
  std::cout << (chapter->owner.Upgrade() == nullptr ? "its book has gone" : "?") << "\n";
  chapter->rest->rest = chapter;  // a cycle
  chapter = nullptr;
  std::cout << domain.Collect()->collected << " found in a cycle\n";
  std::cout << domain.stats().destroyed << " of " << domain.stats().made << " destroyed\n";
}
