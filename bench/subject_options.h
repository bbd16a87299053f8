// What a subject is made from.

#ifndef EBB_BENCH_SUBJECT_OPTIONS_H_
#define EBB_BENCH_SUBJECT_OPTIONS_H_

#include <cstdint>
#include <string>

#include "bench/run_spec.h"

namespace ebb::bench {

struct SubjectOptions {
  std::string name = "";       // of the subject, as on the command line
  std::string collector = "";  // of ebb
  std::string sizing = "";     // of ebb, as in a RunSpec
  std::string backend = "";    // the same
  int64_t heap_bytes = 0;      // everything counted: both halves of a copy space
  bool capped = false;         // of boehm: not a byte more than heap_bytes; of ebb always so
  int workers = 0;             // collector threads; 0: the subject's default
  bool page_out = true;        // of ebb
  bool field_logging = false;  // of ebb
};

// Those of a run, but for its heap's size.
inline SubjectOptions OptionsFor(const RunSpec& spec, int64_t heap_bytes) {
  return {.name = spec.subject,
          .collector = spec.collector,
          .sizing = spec.sizing,
          .backend = spec.backend,
          .heap_bytes = heap_bytes,
          .capped = spec.capped,
          .workers = spec.workers};
}

}  // namespace ebb::bench

#endif  // EBB_BENCH_SUBJECT_OPTIONS_H_
