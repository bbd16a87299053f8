// RunThreads: a workload's threads, each attached to the subject. PinThisThread.

#ifndef EBB_BENCH_THREADS_H_
#define EBB_BENCH_THREADS_H_

#include <sched.h>

#include <new>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace ebb::bench {

// Runs body(thread), which returns absl::Status, on `count` new threads that are attached to
// `subject`, and waits for all. The first error, an allocation that failed among them, is returned.
template <typename S, typename Body>
absl::Status RunThreads(S& subject, int count, const Body& body) {
  std::vector<absl::Status> results(static_cast<size_t>(count));
  std::vector<std::thread> threads;
  for (absl::Status& result : results) {
    threads.emplace_back([&subject, &body, &result] {
      try {
        typename S::Thread thread(subject);
        result = body(thread);
      } catch (const std::bad_alloc& error) {
        result = absl::ResourceExhaustedError(absl::StrCat("out of memory: ", error.what()));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  absl::Status status;
  for (const absl::Status& result : results) status.Update(result);
  return status;
}

// Keeps the calling thread on the processor it is on, so that no latency is that of a migration;
// does nothing where the system refuses. Threads that it makes from now on inherit this.
inline void PinThisThread() {
  const int cpu = sched_getcpu();
  if (cpu < 0 || cpu >= CPU_SETSIZE) return;
  cpu_set_t here;
  CPU_ZERO(&here);
  CPU_SET(cpu, &here);
  sched_setaffinity(0, sizeof(here), &here);
}

}  // namespace ebb::bench

#endif  // EBB_BENCH_THREADS_H_
