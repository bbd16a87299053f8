#include "bench/boehm_subject.h"

#include <vector>

#include "absl/memory/memory.h"
#include "absl/status/status.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"
#include "bench/dynamic_library.h"
#include "bench/meter.h"

namespace ebb::bench {
namespace {

// GC_EventType of gc.h: the world is about to be stopped, and has been started again.
constexpr int kPreStopWorld = 6;
constexpr int kPostStartWorld = 9;

// libgc calls OnEvent with its allocation lock held, so nobody else writes these; Describe reads
// them when the workload's threads have ended.
std::vector<int64_t>& Pauses() {
  static std::vector<int64_t>* const pauses = new std::vector<int64_t>;
  return *pauses;
}
absl::Duration stopping_since;

void OnEvent(int event) {
  if (event == kPreStopWorld) stopping_since = MonotonicNow();
  if (event == kPostStartWorld) {
    Pauses().push_back(absl::ToInt64Nanoseconds(MonotonicNow() - stopping_since));
  }
}

absl::StatusOr<BoehmFunctions> OpenBoehm() {
  absl::StatusOr<DynamicLibrary> library = DynamicLibrary::Open("libgc.so.1", "libgc-dev");
  if (!library.ok()) return library.status();
  BoehmFunctions f = {};
  absl::Status status = library->Resolve("GC_init", f.init);
  status.Update(library->Resolve("GC_allow_register_threads", f.allow_register_threads));
  status.Update(library->Resolve("GC_get_stack_base", f.get_stack_base));
  status.Update(library->Resolve("GC_register_my_thread", f.register_my_thread));
  status.Update(library->Resolve("GC_unregister_my_thread", f.unregister_my_thread));
  status.Update(library->Resolve("GC_enable_incremental", f.enable_incremental));
  status.Update(library->Resolve("GC_expand_hp", f.expand));
  status.Update(library->Resolve("GC_set_max_heap_size", f.set_max_heap_size));
  status.Update(library->Resolve("GC_malloc", f.allocate));
  status.Update(library->Resolve("GC_malloc_atomic", f.allocate_atomic));
  status.Update(library->Resolve("GC_gcollect", f.collect));
  status.Update(library->Resolve("GC_get_gc_no", f.collections));
  status.Update(library->Resolve("GC_get_heap_size", f.heap_size));
  status.Update(library->Resolve("GC_set_on_collection_event", f.set_on_collection_event));
  if (!status.ok()) return status;
  return f;
}

}  // namespace

absl::StatusOr<std::unique_ptr<BoehmSubject>> BoehmSubject::Create(const SubjectOptions& options) {
  absl::StatusOr<BoehmFunctions> f = OpenBoehm();
  if (!f.ok()) return f.status();
  Pauses().reserve(1 << 20);
  f->init();
  f->allow_register_threads();
  f->set_on_collection_event(&OnEvent);
  if (options.name == "boehm-incremental") f->enable_incremental();
  const size_t wanted = static_cast<size_t>(options.heap_bytes);
  if (options.capped) {
    f->set_max_heap_size(wanted);  // it grows by itself, up to that
  } else if (options.name != "boehm-default" && wanted > f->heap_size() &&
             f->expand(wanted - f->heap_size()) == 0) {
    return absl::ResourceExhaustedError(
        absl::StrFormat("GC_expand_hp failed: heap of %d bytes", options.heap_bytes));
  }
  return absl::WrapUnique(new BoehmSubject(*f));
}

BoehmSubject::Thread::Thread(BoehmSubject& subject)
    : functions_(subject.functions_),
      allocate_(functions_.allocate),
      allocate_atomic_(functions_.allocate_atomic) {
  BoehmFunctions::StackBase base = {};
  functions_.get_stack_base(&base);
  registered_ = functions_.register_my_thread(&base) == 0;  // otherwise it is already
}

BoehmSubject::Thread::~Thread() {
  if (registered_) functions_.unregister_my_thread();
}

absl::Status BoehmSubject::Collect() {
  functions_.collect();
  return absl::OkStatus();
}

void BoehmSubject::Describe(Record& record) const {
  record.Set("collections", functions_.collections());
  record.Set("heap_bytes", functions_.heap_size());
  WriteDistribution(Pauses(), "pause_ns", record);
}

}  // namespace ebb::bench
