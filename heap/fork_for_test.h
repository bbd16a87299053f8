// What the tests of forks share: the cases, and what must work in a child.
//
// Under ThreadSanitizer a child of several threads must not start any: there it only does what
// needs none, and the sanitizer watches what the parent does around the fork.

#ifndef EBB_HEAP_FORK_FOR_TEST_H_
#define EBB_HEAP_FORK_FOR_TEST_H_

#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <optional>
#include <ostream>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/config.h"
#include "absl/log/check.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "heap/heap_for_test.h"

namespace ebb {

#ifdef ABSL_HAVE_THREAD_SANITIZER
inline constexpr bool kChildMayStartThreads = false;
#else
inline constexpr bool kChildMayStartThreads = true;
#endif

inline constexpr int64_t kListLength = 1'000;
inline constexpr int kMostSecondsInChild = 60;

// The thread that forks: what it has on the heap.
enum class Forker { kRuns, kBlocked, kNone };

struct ForkCase {
  Collector collector;
  Forker forker;

  std::string name() const {
    const std::string mode = collector == Collector::kParallel     ? "Parallel"
                             : collector == Collector::kConcurrent ? "Concurrent"
                                                                   : "Generational";
    switch (forker) {
      case Forker::kRuns:
        return mode + "Runs";
      case Forker::kBlocked:
        return mode + "Blocked";
      case Forker::kNone:
        return mode + "None";
    }
    return mode;
  }
  friend void PrintTo(const ForkCase& c, std::ostream* out) { *out << c.name(); }
};

inline constexpr Collector kCollectors[] = {Collector::kParallel, Collector::kConcurrent,
                                            Collector::kGenerational};

inline std::vector<ForkCase> ForkCases() {
  std::vector<ForkCase> cases;
  for (Collector collector : kCollectors) {
    for (Forker forker : {Forker::kRuns, Forker::kBlocked, Forker::kNone}) {
      cases.push_back({collector, forker});
    }
  }
  return cases;
}

inline Options OptionsFor(Collector collector) {
  Options options{.max_bytes = 4 << 20,
                  .collector = collector,
                  .nursery_bypass = false,
                  .workers = 2,
                  .concurrent_workers = 2,
                  .page_out_tick = absl::Milliseconds(1)};
  options.read_environment = false;
  return options;
}

// Forks, and lets the child do `work`, which stops it where something is amiss. True if all went
// well in there, and within the time.
inline bool Fork(const std::function<void()>& work) {
  const pid_t child = fork();
  CHECK_GE(child, 0) << std::strerror(errno);
  if (child == 0) {
    alarm(kMostSecondsInChild);
    work();
    // Not _exit, where ThreadSanitizer would report threads of the parent's that had ended, but
    // were not yet joined, at the fork.
    syscall(SYS_exit_group, 0);
  }
  int status = 0;
  while (waitpid(child, &status, 0) < 0) CHECK_EQ(errno, EINTR);
  if (status == 0) return true;
  ADD_FAILURE() << "the child ended with "
                << (WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : "an error") << " ("
                << status << ")";
  return false;
}

// Of this process's threads.
inline std::set<std::string> ThreadNames() {
  std::set<std::string> names;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    std::string name;
    std::getline(std::ifstream(task.path() / "comm"), name);
    names.insert(name);
  }
  return names;
}

inline int64_t ThreadCount() {
  return std::distance(std::filesystem::directory_iterator("/proc/self/task"),
                       std::filesystem::directory_iterator());
}

inline void CheckVerifies(Heap& heap) {
  absl::Status status = heap.Verify();
  CHECK_OK(status);
}

// Allocates more than a heap has room for, so that cycles must run.
inline void Churn(Heap& heap, Mutator& mutator) {
  Local<Node> list(mutator, NewList(mutator, 100));
  const int64_t before = heap.stats().collections;
  while (heap.stats().collections < before + 2) {
    for (int i = 0; i < 1'000; ++i) mutator.New<Node>(list, nullptr, i);
    mutator.NewArray<int64_t>(10'000);
    mutator.NewPinned<Node>(list, nullptr, 7);
  }
  CHECK(IsList(list, 100));
}

// What must work on the heap in a child, by the thread that is there. `check` looks whether old
// objects are what they were.
inline void UseInChild(Heap& heap, Mutator& mutator, const std::function<void()>& check) {
  check();
  CheckVerifies(heap);
  check();
  if (!kChildMayStartThreads) return;  // nor allocate: a cycle might be wanted
  Local<Node> list(mutator, NewList(mutator, kListLength));
  for (int i = 0; i < 2; ++i) {
    CHECK_OK(heap.Collect());
    check();
    CHECK(IsList(list, kListLength));
  }
  CheckVerifies(heap);
  {
    // It is given the stack of a thread that the child does not have.
    std::thread other([&heap] {
      Mutator mutator(heap);
      Churn(heap, mutator);
    });
    const Blocking blocking(mutator);
    other.join();
  }
  Churn(heap, mutator);
  check();
  CHECK(IsList(list, kListLength));
  CheckVerifies(heap);
  CHECK_OK(heap.SetMaxBytes(heap.options().max_bytes / 2));
  CHECK_OK(heap.Collect());
  check();
  CHECK_EQ(heap.stats().mutators, 1);
  const std::set<std::string> names = ThreadNames();
  CHECK(names.contains("ebb-background"));
  CHECK_EQ(names.contains("ebb-collector"), IsConcurrent(heap));
}

// The mutator that a thread has when it forks.
class ForkersMutator {
 public:
  ForkersMutator(Heap& heap, Forker forker) {
    if (forker != Forker::kNone) mutator_.emplace(heap);
    if (forker == Forker::kBlocked) blocking_.emplace(*mutator_);
  }
  // In the child: one that runs.
  Mutator& Running(Heap& heap) {
    blocking_.reset();
    if (!mutator_.has_value()) mutator_.emplace(heap);
    return *mutator_;
  }
  void Reset() {
    blocking_.reset();
    mutator_.reset();
  }
  Mutator* get() { return mutator_.has_value() ? &*mutator_ : nullptr; }

 private:
  std::optional<Mutator> mutator_;
  std::optional<Blocking> blocking_;
};

inline std::string ForkCaseName(const testing::TestParamInfo<ForkCase>& info) {
  return info.param.name();
}

}  // namespace ebb

#endif  // EBB_HEAP_FORK_FOR_TEST_H_
