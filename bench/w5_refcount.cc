// W5, reference counts: (a) a pointer copied and dropped by the thread that made its object; (b)
// the same by two threads at once, and the same by references that need not count; (c) trees built
// and dropped; (d) a long list dropped; (e) rings dropped, and found by cycle detection. (a) to (d)
// by Ebb's rc::Ptr and by std::shared_ptr, (e) by rc::Ptr alone.

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "bench/meter.h"
#include "bench/subjects.h"
#include "bench/threads.h"
#include "bench/workload.h"
#include "heap/rc/rc.h"

namespace ebb::bench {
namespace {

// The words in which the four are written: a Client is what one thread counts with.
class RcClient {
 public:
  template <typename T>
  using Pointer = rc::Ptr<T>;
  template <typename T>
  using Edge = rc::Field<T>;

  struct Domain {
    explicit Domain(EbbSubject& subject) : domain(subject.heap()) {}
    rc::Domain domain;
  };
  // One for each thread.
  RcClient(Domain& domain, EbbSubject::Thread& thread) : owner_(domain.domain, thread) {}

  template <typename T, typename... Args>
  rc::Ptr<T> Make(Args&&... args) {
    return rc::MakePtr<T>(std::forward<Args>(args)...);
  }
  // What keeps an object alive for as long as a scope lasts.
  template <typename T>
  rc::Local<T> Hold(const rc::Ptr<T>& pointer) {
    return rc::Local<T>(owner_, pointer);
  }
  // Drops what hangs on `head`, by `next`, without recursion.
  template <typename T>
  static void DropList(rc::Ptr<T> head) {
    head = nullptr;
  }

 private:
  rc::Owner owner_;
};

class SharedClient {
 public:
  template <typename T>
  using Pointer = std::shared_ptr<T>;
  template <typename T>
  using Edge = std::shared_ptr<T>;

  struct Domain {
    explicit Domain(SharedSubject&) {}
  };
  SharedClient(Domain&, SharedSubject::Thread& thread) : thread_(thread) {}

  template <typename T, typename... Args>
  std::shared_ptr<T> Make(Args&&... args) {
    return thread_.New<T>(std::forward<Args>(args)...);
  }
  template <typename T>
  std::shared_ptr<T> Hold(const std::shared_ptr<T>& pointer) {
    return pointer;
  }
  template <typename T>
  static void DropList(std::shared_ptr<T> head) {
    while (head != nullptr) {
      std::shared_ptr<T> next = std::move(head->next);
      head = std::move(next);
    }
  }

 private:
  SharedSubject::Thread& thread_;
};

template <typename S>
using ClientOf = std::conditional_t<std::is_same_v<S, EbbSubject>, RcClient, SharedClient>;

// Calls body(client, record, number), which returns a Status, on threads of the subject that is
// named, numbered from 0.
template <typename Body>
absl::StatusOr<Record> OnClients(const SubjectOptions& options, int threads, Body body) {
  Record record;
  const auto run = [&]<typename S>(S& subject) -> absl::StatusOr<Record> {
    typename ClientOf<S>::Domain domain(subject);
    std::atomic<int> number = 0;
    const auto on_thread = [&](typename S::Thread& thread) -> absl::Status {
      ClientOf<S> client(domain, thread);
      return body(client, record, number.fetch_add(1, std::memory_order_relaxed));  // a number
    };
    absl::Status status = RunThreads(subject, threads, on_thread);
    if (!status.ok()) return status;
    subject.Describe(record);
    return record;
  };
  if (options.name == "ebb") return OnSubject<EbbSubject>(options, run);
  return OnSubject<SharedSubject>(options, run);
}

// body(client, record) on one.
template <typename Body>
absl::StatusOr<Record> OnClient(const SubjectOptions& options, Body body) {
  return OnClients(options, 1,
                   [&](auto& client, Record& record, int) { return body(client, record); });
}

struct Plain {
  int64_t value = 0;
};

// The compiler must take it that somebody looks at the pointer.
template <typename P>
inline void Look(P& pointer) {
  asm volatile("" : : "r"(&pointer) : "memory");
}

template <typename P>
void CopyAndDrop(const P& pointer, int64_t times) {
  for (int64_t i = 0; i < times; ++i) {
    P copy = pointer;
    Look(copy);
  }
}

constexpr int64_t kSmallHeapBytes = 8 << 20;

absl::StatusOr<Record> RunW5a(const RunSpec& spec) {
  const int64_t times = spec.smoke ? 2'000'000 : 500'000'000;
  return OnClient(OptionsFor(spec, kSmallHeapBytes), [&](auto& client, Record& record) {
    const auto pointer = client.template Make<Plain>();
    Meter meter;
    meter.Start();
    CopyAndDrop(pointer, times);
    meter.Stop();
    meter.Write(record);
    record.Set("operations", times);
    record.Set("ns", absl::ToDoubleNanoseconds(meter.wall()) / static_cast<double>(times));
    return absl::OkStatus();
  });
}

template <typename Client, typename P>
void HoldAndLetGo(Client& client, const P& pointer, int64_t times) {
  for (int64_t i = 0; i < times; ++i) {
    auto held = client.Hold(pointer);
    Look(held);
  }
}

// What it takes to make an object and drop it, in nanoseconds.
template <typename Client>
double MakeAndDrop(Client& client, int64_t times) {
  const absl::Duration start = MonotonicNow();
  for (int64_t i = 0; i < times; ++i) client.template Make<Plain>();
  return absl::ToDoubleNanoseconds(MonotonicNow() - start) / static_cast<double>(times);
}

// Where two threads wait for each other.
class Meeting {
 public:
  void Await() {
    // Acq_rel, and acquire: what the one did before, the other one sees.
    const int others = arrived_.fetch_add(1, std::memory_order_acq_rel);
    while (arrived_.load(std::memory_order_acquire) / 2 <= others / 2) {
    }
  }

 private:
  std::atomic<int> arrived_ = 0;
};

absl::StatusOr<Record> RunW5b(const RunSpec& spec) {
  const int64_t times = spec.smoke ? 500'000 : 100'000'000;
  Meeting meeting;
  // Relaxed: the meeting publishes what it leads to.
  std::atomic<const void*> shared = nullptr;
  const auto body = [&](auto& client, Record& record, int number) {
    using Pointer = decltype(client.template Make<Plain>());
    Pointer made;
    if (number == 0) {
      made = client.template Make<Plain>();
      shared.store(&made, std::memory_order_relaxed);  // see there
      record.Set("make_ns", MakeAndDrop(client, times / 10));
    }
    meeting.Await();
    // Relaxed: see there.
    const Pointer& pointer = *static_cast<const Pointer*>(shared.load(std::memory_order_relaxed));
    Meter meter;
    meter.Start();
    CopyAndDrop(pointer, times);
    meeting.Await();
    meter.Stop();
    const absl::Duration start = MonotonicNow();
    HoldAndLetGo(client, pointer, times);
    meeting.Await();
    const absl::Duration holding = MonotonicNow() - start;
    if (number > 0) return absl::OkStatus();
    meter.Write(record);
    record.Set("operations", 2 * times);
    record.Set("ns", absl::ToDoubleNanoseconds(meter.wall()) / static_cast<double>(times));
    record.Set("hold_ns", absl::ToDoubleNanoseconds(holding) / static_cast<double>(times));
    // Its objects may be held now by what does not count.
    record.Set("make_ns_after", MakeAndDrop(client, times / 10));
    return absl::OkStatus();
  };
  return OnClients(OptionsFor(spec, kSmallHeapBytes), 2, body);
}

template <typename Client>
struct TreeNode {
  typename Client::template Edge<TreeNode> left, right;

  TreeNode(typename Client::template Pointer<TreeNode> l,
           typename Client::template Pointer<TreeNode> r)
      : left(std::move(l)), right(std::move(r)) {}
  EBB_FIELDS(TreeNode, left, right)
};

template <typename Client>
typename Client::template Pointer<TreeNode<Client>> BuildTree(Client& client, int depth) {
  if (depth == 0) return client.template Make<TreeNode<Client>>(nullptr, nullptr);
  auto left = BuildTree(client, depth - 1);
  auto right = BuildTree(client, depth - 1);
  return client.template Make<TreeNode<Client>>(std::move(left), std::move(right));
}

struct Trees {
  int depth;
  int times;
  int64_t nodes() const { return (int64_t{2} << depth) - 1; }
};

absl::StatusOr<Record> RunW5c(const RunSpec& spec) {
  const Trees trees = spec.smoke ? Trees{14, 10} : Trees{22, 20};
  // 24 bytes an object, and 8 for its address; the rest of its cell is not part of the heap.
  const auto heap_bytes = static_cast<int64_t>(spec.heap_multiple * 32.0) * trees.nodes();
  return OnClient(OptionsFor(spec, heap_bytes), [&](auto& client, Record& record) {
    absl::Duration building, dropping;
    Meter meter;
    meter.Start();
    for (int i = 0; i < trees.times; ++i) {
      const absl::Duration start = MonotonicNow();
      auto tree = BuildTree(client, trees.depth);
      const absl::Duration built = MonotonicNow();
      tree = nullptr;
      building += built - start;
      dropping += MonotonicNow() - built;
    }
    meter.Stop();
    meter.Write(record);
    const auto nodes = static_cast<double>(trees.nodes() * trees.times);
    record.Set("build_ns", absl::ToDoubleNanoseconds(building) / nodes);
    record.Set("drop_ns", absl::ToDoubleNanoseconds(dropping) / nodes);
    return absl::OkStatus();
  });
}

template <typename Client>
struct ListNode {
  typename Client::template Edge<ListNode> next;
  int64_t value;

  ListNode(typename Client::template Pointer<ListNode> n, int64_t v)
      : next(std::move(n)), value(v) {}
  EBB_FIELDS(ListNode, next, value)
};

absl::StatusOr<Record> RunW5d(const RunSpec& spec) {
  const int64_t length = spec.smoke ? 100'000 : 10'000'000;
  const auto heap_bytes = static_cast<int64_t>(spec.heap_multiple * 32.0) * length;
  return OnClient(OptionsFor(spec, heap_bytes), [&]<typename Client>(Client& client,
                                                                     Record& record) {
    typename Client::template Pointer<ListNode<Client>> head;
    for (int64_t i = 0; i < length; ++i) {
      head = client.template Make<ListNode<Client>>(std::move(head), i);
    }
    Meter meter;
    meter.Start();
    Client::DropList(std::move(head));
    meter.Stop();
    meter.Write(record);
    record.Set("drop_ns", absl::ToDoubleNanoseconds(meter.wall()) / static_cast<double>(length));
    return absl::OkStatus();
  });
}

// A member of a ring, with one word of payload.
struct RingNode {
  rc::Field<RingNode> next;
  int64_t value = 0;
};

rc::Ptr<RingNode> BuildRing(int64_t length) {
  rc::Ptr<RingNode> first = rc::MakePtr<RingNode>();
  rc::Ptr<RingNode> last = first;
  for (int64_t i = 1; i < length; ++i) {
    rc::Ptr<RingNode> made = rc::MakePtr<RingNode>();
    last->next = made;
    last = std::move(made);
  }
  last->next = first;
  return first;
}

// Rings of 2, 10 and 100 are dropped and found, without anything beside them and beside as many
// live ones. `dead_ns` is of detection and destruction, an object; `live_ns` what a detection takes
// that finds nothing, an object.
absl::StatusOr<Record> RunW5e(const RunSpec& spec) {
  const int64_t objects = spec.smoke ? 30'000 : 5'000'000;
  const auto heap_bytes = static_cast<int64_t>(spec.heap_multiple * 32.0) * 2 * objects;
  Record record;
  const auto run = [&](EbbSubject& subject) -> absl::StatusOr<Record> {
    rc::Domain domain(subject.heap());
    absl::Status status = RunThreads(subject, 1, [&](EbbSubject::Thread& thread) -> absl::Status {
      rc::Owner owner(domain, thread);
      const auto detect = [&](int64_t wanted) -> absl::StatusOr<double> {
        const absl::Duration start = MonotonicNow();
        absl::StatusOr<rc::Detection> detection = domain.Collect();
        const double ns = absl::ToDoubleNanoseconds(MonotonicNow() - start);
        if (!detection.ok()) return detection.status();
        if (detection->collected != wanted) {
          return absl::InternalError(
              absl::StrCat("found ", detection->collected, " dead objects of ", wanted));
        }
        return ns / static_cast<double>(objects);
      };
      Meter meter;
      meter.Start();
      for (const int64_t length : {2, 10, 100}) {
        for (int64_t i = 0; i < objects; i += length) BuildRing(length);
        absl::StatusOr<double> ns = detect(objects);
        if (!ns.ok()) return ns.status();
        record.Set(absl::StrCat("dead_ns_", length), *ns);
      }
      std::vector<rc::Ptr<RingNode>> live;
      for (int64_t i = 0; i < objects; i += 10) live.push_back(BuildRing(10));
      absl::StatusOr<double> live_ns = detect(0);
      if (!live_ns.ok()) return live_ns.status();
      record.Set("live_ns", *live_ns);
      for (int64_t i = 0; i < objects; i += 10) BuildRing(10);
      absl::StatusOr<double> beside = detect(objects);
      if (!beside.ok()) return beside.status();
      record.Set("dead_beside_live_ns", *beside - *live_ns);
      meter.Stop();
      meter.Write(record);
      live.clear();  // and collected, since a Domain that goes warns of what is alive
      return detect(objects).status();
    });
    if (!status.ok()) return status;
    subject.Describe(record);
    return record;
  };
  return OnSubject<EbbSubject>(OptionsFor(spec, heap_bytes), run);
}

Workload OfCounts(std::string name, std::string about) {
  Workload workload;
  workload.name = std::move(name);
  workload.about = std::move(about);
  workload.peers = {"glibc-shared", "mimalloc-shared", "jemalloc-shared"};
  workload.default_peers = {"mimalloc-shared"};
  workload.collectors = {"concurrent"};
  return workload;
}

Bar OfPeer(std::string of, double at_most, double heap_multiple) {
  Bar bar;
  bar.of = std::move(of);
  bar.at_most = at_most;
  bar.collector = "concurrent";
  bar.heap_multiple = heap_multiple;
  bar.peer = "mimalloc-shared";
  return bar;
}

}  // namespace

Workload W5aCopyOwn() {
  Workload workload = OfCounts("W5a", "copy and drop a counted pointer on its owner's thread");
  workload.details = {"ns"};
  workload.bars = {OfPeer("wall_s", 0.15, 0)};
  workload.run = &RunW5a;
  return workload;
}

Workload W5bCopyShared() {
  Workload workload = OfCounts("W5b", "two threads copy one counted pointer");
  workload.details = {"ns", "hold_ns", "make_ns", "make_ns_after"};
  workload.bars = {OfPeer("wall_s", 0.2, 0), OfPeer("hold_ns", 0.05, 0)};
  workload.run = &RunW5b;
  return workload;
}

Workload W5cTrees() {
  Workload workload = OfCounts("W5c", "trees of counted nodes built and dropped");
  workload.heap_multiples = {5};
  workload.details = {"build_ns", "drop_ns"};
  workload.bars = {OfPeer("build_ns", 0.8, 5), OfPeer("drop_ns", 0.8, 5)};
  workload.run = &RunW5c;
  return workload;
}

Workload W5dList() {
  Workload workload = OfCounts("W5d", "a list of 10 M counted nodes dropped");
  workload.heap_multiples = {5};
  workload.details = {"drop_ns"};
  workload.bars = {OfPeer("drop_ns", 1, 5)};
  workload.run = &RunW5d;
  return workload;
}

Workload W5eRings() {
  Workload workload;
  workload.name = "W5e";
  workload.about = "5 M objects in rings dropped, and found by cycle detection";
  workload.collectors = {"concurrent"};
  workload.heap_multiples = {5};
  workload.details = {"dead_ns_2", "dead_ns_10", "dead_ns_100", "live_ns", "dead_beside_live_ns"};
  for (const auto& [of, limit] : {std::pair("dead_ns_2", 20), std::pair("dead_ns_10", 20),
                                  std::pair("dead_ns_100", 20), std::pair("live_ns", 7)}) {
    Bar bar;
    bar.of = of;
    bar.at_most = 1;
    bar.limit = limit;
    bar.collector = "concurrent";
    bar.heap_multiple = 5;
    workload.bars.push_back(std::move(bar));
  }
  workload.run = &RunW5e;
  return workload;
}

}  // namespace ebb::bench
