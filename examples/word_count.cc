// Counts the words of standard input, in a hash table that lives in the heap:
//
//   word_count [OPTIONS] < TEXT      for OPTIONS such as max_bytes=64m,workers=2
//
// Shows managed strings and arrays, a root in an ordinary C++ object, and errors as Statuses.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iostream>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/hash/hash.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "heap/ebb.h"

namespace {

struct Entry {
  ebb::Field<ebb::String> word;
  ebb::Field<Entry> next;  // in the same bucket
  int64_t count = 1;
};

// An ordinary C++ object: it may live anywhere, so its root is a Persistent.
class WordCounter {
 public:
  static absl::StatusOr<WordCounter> Create(ebb::Heap& heap, ebb::Mutator& mutator) {
    absl::StatusOr<ebb::Ref<Table>> table = mutator.TryNewRefArray<Entry>(kBuckets);
    if (!table.ok()) return table.status();
    return WordCounter(ebb::Persistent<Table>(heap, *table));
  }

  // ResourceExhausted when the heap is full; what was counted before stays counted.
  absl::Status Add(ebb::Mutator& mutator, std::string_view word) {
    const size_t bucket = absl::HashOf(word) % kBuckets;
    // No safepoint in this loop: plain references stay good.
    for (ebb::Ref<Entry> e = (*table_)[bucket]; e != nullptr; e = e->next) {
      if (*e->word == word) {
        ++e->count;
        return absl::OkStatus();
      }
    }
    absl::StatusOr<ebb::Ref<ebb::String>> text = mutator.TryNewString(word);
    if (!text.ok()) return text.status();
    // Allocation is a safepoint: TryNew keeps its arguments alive meanwhile, and takes the head of
    // the bucket along.
    absl::StatusOr<ebb::Ref<Entry>> entry = mutator.TryNew<Entry>(*text, (*table_)[bucket]);
    if (!entry.ok()) return entry.status();
    (*table_)[bucket] = *entry;
    return absl::OkStatus();
  }

  // The words with their counts, most frequent first, then by the alphabet.
  std::vector<std::pair<int64_t, std::string>> Counts() const {
    std::vector<std::pair<int64_t, std::string>> counts;
    for (const ebb::Field<Entry>& head : *table_) {
      for (ebb::Ref<Entry> e = head; e != nullptr; e = e->next) {
        counts.emplace_back(-e->count, e->word->view());
      }
    }
    std::sort(counts.begin(), counts.end());
    for (auto& [count, word] : counts) count = -count;
    return counts;
  }

 private:
  using Table = ebb::RefArray<Entry>;
  static constexpr size_t kBuckets = 4096;

  explicit WordCounter(ebb::Persistent<Table> table) : table_(std::move(table)) {}

  ebb::Persistent<Table> table_;
};

absl::Status Run(std::string_view option_text) {
  absl::StatusOr<ebb::Options> options = ebb::Options::Parse(option_text);
  if (!options.ok()) return options.status();
  absl::StatusOr<std::unique_ptr<ebb::Heap>> heap = ebb::Heap::Create(*options);
  if (!heap.ok()) return heap.status();
  ebb::Mutator mutator(**heap);
  absl::StatusOr<WordCounter> counter = WordCounter::Create(**heap, mutator);
  if (!counter.ok()) return counter.status();
  for (std::string word; std::cin >> word;) {
    const absl::Status added = counter->Add(mutator, word);
    if (!added.ok()) return added;
  }
  for (const auto& [count, word] : counter->Counts()) std::cout << count << " " << word << "\n";
  return absl::OkStatus();
}

}  // namespace

int main(int argc, char** argv) {
  const absl::Status status = Run(argc > 1 ? argv[1] : "");
  if (status.ok()) return 0;
  std::cerr << "word_count: " << status.message() << "\n";
  return 1;
}
