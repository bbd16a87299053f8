// W5f, stores of counted references: by the thread that made the objects, and by another one, in a
// domain that counts each store and in a coalesced one.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "bench/meter.h"
#include "bench/subjects.h"
#include "bench/w5_ebb.h"
#include "bench/workload.h"
#include "heap/rc/rc.h"

namespace ebb::bench {
namespace {

struct Node {
  rc::Field<Node> field;
  int64_t value = 0;
};

constexpr size_t kNodes = 1'000;  // whose Fields fit into a log
constexpr int64_t kHeapBytes = 64 << 20;

// Each Field is stored to so many times, always to another object; after each `rounds_an_epoch`
// Owner::Step ends the epoch, if there are any. Nanoseconds a store.
double StoreToAll(std::vector<rc::Ptr<Node>>& nodes, rc::Owner& owner, int64_t rounds,
                  int64_t rounds_an_epoch) {
  const absl::Duration start = MonotonicNow();
  for (int64_t round = 1; round <= rounds; ++round) {
    for (size_t i = 0; i < kNodes; ++i) {
      nodes[i]->field = nodes[(i + static_cast<size_t>(round)) % kNodes];
    }
    if (round % rounds_an_epoch == 0) owner.Step();
  }
  return absl::ToDoubleNanoseconds(MonotonicNow() - start) / static_cast<double>(rounds) /
         static_cast<double>(kNodes);
}

double MakeAndDrop(int64_t times) {
  const absl::Duration start = MonotonicNow();
  for (int64_t i = 0; i < times; ++i) rc::MakePtr<Node>();
  return absl::ToDoubleNanoseconds(MonotonicNow() - start) / static_cast<double>(times);
}

absl::StatusOr<Record> RunW5f(const RunSpec& spec) {
  const int64_t rounds = spec.smoke ? 256 : 20'480;
  SubjectOptions options = OptionsFor(spec, kHeapBytes);
  options.field_logging = true;
  const auto body = [&](EbbSubject& subject, EbbSubject::Thread& thread,
                        Record& record) -> absl::Status {
    for (const auto& [name, stores] :
         {std::pair("eager", rc::Stores::kEager), std::pair("coalesced", rc::Stores::kCoalesced)}) {
      rc::Domain domain(subject.heap(), {.stores = stores});
      rc::Owner owner(domain, thread);
      std::vector<rc::Ptr<Node>> nodes;
      for (size_t i = 0; i < kNodes; ++i) nodes.push_back(rc::MakePtr<Node>());
      for (const int64_t epoch : {1, 16, 256}) {
        record.Set(absl::StrCat(name, "_ns_", epoch), StoreToAll(nodes, owner, rounds, epoch));
        const Blocking blocking(thread);
        std::thread([&, name = name, epoch = epoch] {
          Mutator mutator(subject.heap());
          rc::Owner other(domain, mutator);
          record.Set(absl::StrCat(name, "_by_other_ns_", epoch),
                     StoreToAll(nodes, other, rounds, epoch));
        }).join();
      }
      record.Set(absl::StrCat(name, "_make_ns"), MakeAndDrop(rounds * 100));
      for (const rc::Ptr<Node>& node : nodes) node->field = nullptr;
    }
    return absl::OkStatus();
  };
  return OnEbb(options, body);
}

}  // namespace

Workload W5fStores() {
  Workload workload;
  workload.name = "W5f";
  workload.about = "stores of counted references, each counted and coalesced";
  workload.collectors = {"concurrent"};
  for (const char* name : {"eager", "coalesced"}) {
    for (const char* who : {"_ns_", "_by_other_ns_"}) {
      for (const int epoch : {1, 16, 256})
        workload.details.push_back(absl::StrCat(name, who, epoch));
    }
    workload.details.push_back(absl::StrCat(name, "_make_ns"));
  }
  workload.run = &RunW5f;
  return workload;
}

}  // namespace ebb::bench
