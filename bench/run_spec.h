// RunSpec: what one measured run is, complete enough for the process that runs it.

#ifndef EBB_BENCH_RUN_SPEC_H_
#define EBB_BENCH_RUN_SPEC_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "bench/record.h"

namespace ebb::bench {

// "64m", "1g": the largest unit of k, m, g (powers of 1,024) of which `bytes` is a multiple.
std::string SizeName(int64_t bytes);
// Reads such a size; false if it is none.
bool ParseSize(std::string_view text, int64_t* bytes);

struct RunSpec {
  std::string workload;
  std::string subject = "ebb";
  std::string collector;     // of ebb; empty for peers
  std::string sizing;        // of ebb, as WithSizing reads it; empty: the heap's default
  std::string backend;       // of ebb, as WithBackend reads it; empty: the heap's default
  int threads = 1;           // mutators
  double heap_multiple = 0;  // heap size over largest live size; 0 where it does not apply
  bool capped = false;       // a heap of a peer's may not outgrow its size either
  int64_t live_bytes = 0;    // largest live size; 0 where the workload has one of its own
  int workers = 0;           // collector threads; 0 means the subject's default
  uint64_t seed = 1;
  bool smoke = false;

  bool is_ebb() const { return subject == "ebb"; }
  // "ebb/parallel", "ebb/parallel/adaptive/madvise" where a sizing and a backend are named, or the
  // peer's name.
  std::string Label() const;
  // "W7 ebb/parallel threads=1 heap=3x live=64m", for people.
  std::string Title() const;
  // The fields that tell results apart, in the order of the result line.
  void Write(Record& record) const;

  // "workload=W1,subject=ebb,...", read back by Parse.
  std::string ToString() const;
  static absl::StatusOr<RunSpec> Parse(std::string_view text);

  friend bool operator==(const RunSpec&, const RunSpec&) = default;
};

}  // namespace ebb::bench

#endif  // EBB_BENCH_RUN_SPEC_H_
