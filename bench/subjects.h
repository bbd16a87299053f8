// Every subject by name, and the words in which a workload is written so that one program runs on
// all of them. A subject S has
//
//   S::kManual                         garbage must be given back by Thread::Free
//   S::Edge<T>                         a reference inside an object
//   S::Temp<T>                         what New returns: for use before the next New
//   S::Root<T> x(thread, temp)         a reference that is kept; converts to Temp<T>
//   S::Array<T>, S::RefArray<T>        objects of variable length, with operator[]
//   S::Thread thread(subject)          attaches the calling thread: New<T>(args...),
//                                      NewArray<T>(n), NewRefArray<T>(n), Safepoint(),
//                                      Blocked(function)
//   subject.Collect()                  a full collection, where there is such a thing
//   subject.Collections()              how many there have been
//   subject.Describe(record)           collections, pauses, heap size
//
// To add a peer: a class with these words, a line in LibraryPeers() and one in WithSubject. JVMs
// are peers without these words: see bench/jvm_peer.h.

#ifndef EBB_BENCH_SUBJECTS_H_
#define EBB_BENCH_SUBJECTS_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "bench/boehm_subject.h"
#include "bench/ebb_subject.h"
#include "bench/manual_subject.h"
#include "bench/record.h"
#include "bench/shared_subject.h"
#include "bench/subject_options.h"

namespace ebb::bench {

// The names that --peers accepts; without the JVMs and Ebb itself, those that run any workload; and
// of these the ones that count no references, for structures that counts would not free.
const std::vector<std::string>& Peers();
const std::vector<std::string>& LibraryPeers();
std::vector<std::string> LibraryPeersWithoutCounts();

// Ok if the peer can run in this process; Unavailable, saying why, if it cannot. Loads it.
absl::Status CheckPeer(const std::string& name);

// Whether the peer's heap is given a size, so that its results belong to a heap multiple.
bool HasHeapSize(const std::string& name);

template <typename S, typename Body>
absl::StatusOr<Record> OnSubject(const SubjectOptions& options, Body& body) {
  absl::StatusOr<std::unique_ptr<S>> subject = S::Create(options);
  if (!subject.ok()) return subject.status();
  return body(**subject);
}

// Calls body(subject), which returns absl::StatusOr<Record>, on the subject that is named.
template <typename Body>
absl::StatusOr<Record> WithSubject(const SubjectOptions& options, Body body) {
  if (options.name == "ebb" || options.name == kNoBarrier) {
    return OnSubject<EbbSubject>(options, body);
  }
  if (absl::StartsWith(options.name, "boehm")) return OnSubject<BoehmSubject>(options, body);
  if (absl::EndsWith(options.name, "-shared")) return OnSubject<SharedSubject>(options, body);
  return OnSubject<ManualSubject>(options, body);
}

}  // namespace ebb::bench

#endif  // EBB_BENCH_SUBJECTS_H_
