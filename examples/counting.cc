// Counted references: objects that go when the last reference to them does. A document's sections
// own their parts, and a part knows its section by a weak reference.

#include <cstddef>
#include <cstring>
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

// What a destructor may not do, a finalizer may: make objects, and keep this one.
struct Draft {
  rc::Field<Draft> newer;
  rc::Ptr<Draft>* drawer = nullptr;
  static void Finalize(rc::Ptr<Draft> self) {
    if (self->drawer == nullptr) return;
    self->newer = rc::MakePtr<Draft>();
    *self->drawer = self;
  }
};

// A traced object that holds a counted one, and the other way round: a cycle of both kinds.
struct Index;
struct Entry {
  ebb::Field<Index> index;
  ~Entry() { std::cout << "an entry goes\n"; }
};
struct Index {
  rc::Field<Entry> entry;
};

// A text that grows: its characters lie behind the object.
struct Text {
  size_t size = 0;
};

bool Append(rc::Ptr<Text>& text, std::string_view more) {
  const size_t size = text->size + more.size();
  if (rc::ExtraBytes(text).size() < size && !rc::Resize(text, 2 * size).ok()) return false;
  std::memcpy(rc::ExtraBytes(text).data() + text->size, more.data(), more.size());
  text->size = size;
  return true;
}

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
  // Nothing is counted on the way, and what the Local names stays.
  int chapters = 0;
  for (rc::Local<Part> at(owner, book->first); at; at = at->rest) ++chapters;
  std::cout << chapters << " chapters, still " << chapter.use_count() << " references\n";

  // [counting]
  book = nullptr;  // before the next statement
  // [/counting]
  std::cout << (chapter->owner.Upgrade() == nullptr ? "its book has gone" : "?") << "\n";
  chapter->rest->rest = chapter;  // a cycle
  const rc::WeakCallback told(chapter, [] { std::cout << "told that a chapter has gone\n"; });
  chapter = nullptr;
  std::cout << domain.Collect()->collected << " found in a cycle\n";
  std::cout << domain.stats().destroyed << " of " << domain.stats().made << " destroyed\n";

  rc::Ptr<Draft> drawer;
  rc::MakePtr<Draft>(nullptr, &drawer);  // dropped at once
  while (owner.Step()) {
  }
  std::cout << (drawer != nullptr && drawer->newer != nullptr ? "a draft was kept\n" : "?\n");

  {
    rc::Ptr<Entry> entry = rc::MakePtr<Entry>();
    entry->index = rc::NewHolder<Index>(entry);
  }
  std::cout << domain.Collect()->collected << " found in a cycle through a traced object\n";

  rc::Ptr<Text> text = rc::MakePtrWithBytes<Text>(5);
  for (const std::string_view word : {"one", "two", "three"}) {
    if (!Append(text, word)) return 1;
  }
  std::cout << text->size << " characters in " << rc::ExtraBytes(text).size() << " bytes\n";
}
