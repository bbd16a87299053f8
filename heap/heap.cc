#include "heap/heap.h"

#include <cstdlib>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/functional/function_ref.h"
#include "absl/log/check.h"
#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "heap/heap_core.h"
#include "heap/mutator.h"

namespace ebb {
namespace {

absl::StatusOr<Options> FromEnvironment(const Options& options) {
  const char* text = options.read_environment ? std::getenv("EBB_OPTIONS") : nullptr;
  if (text == nullptr) return options;
  absl::StatusOr<Options> result = Options::Parse(text, options);
  if (!result.ok()) {
    return absl::Status(result.status().code(),
                        absl::StrCat("EBB_OPTIONS: ", result.status().message()));
  }
  return result;
}

}  // namespace

Heap::Heap(std::shared_ptr<internal::HeapCore> core) : core_(std::move(core)) {}

Heap::~Heap() {
  CHECK(core_->watches().empty())
      << "an ebb::Heap is destroyed before an ebb::rc::Domain of it, or before the last Owner of "
         "one: destroy these first, as by declaring them after the heap";
  core_->cleanups().RunAll();
  core_->ClearRoots();
}

absl::StatusOr<std::unique_ptr<Heap>> Heap::Create(const Options& options) {
  absl::StatusOr<Options> resolved = FromEnvironment(options);
  if (!resolved.ok()) return resolved.status();
  if (absl::Status status = resolved->Validate(); !status.ok()) return status;
  auto core = internal::HeapCore::Create(*std::move(resolved));
  if (!core.ok()) return core.status();
  return absl::WrapUnique(new Heap(*std::move(core)));
}

absl::Status Heap::RunStopping(const char* what, absl::FunctionRef<absl::Status(Mutator*)> act) {
  Mutator* self = Mutator::Current(*this);
  if (self == nullptr) {
    absl::Status status = Mutator::CheckThreadMayStop(what);
    return status.ok() ? act(nullptr) : status;
  }
  if (absl::Status status = self->PassSafepoint(what); !status.ok()) return status;
  const absl::Cleanup rearm = [self] { self->RearmFastPath(); };
  return act(self);
}

absl::Status Heap::RunInPause(const char* what, absl::FunctionRef<void()> act) {
  return RunStopping(what, [&](Mutator* self) {
    const Safepoints::Pause pause(core_->safepoints(), self);
    act();
    return absl::OkStatus();
  });
}

absl::Status Heap::RunBetweenCycles(
    const char* what, absl::FunctionRef<absl::Status(internal::StoppedHeap&)> act) {
  return RunStopping(what, [&](Mutator* self) { return core_->RunBetweenCycles(self, act); });
}

absl::Status Heap::Collect(CollectKind kind) {
  return RunStopping("Heap::Collect", [&](Mutator* self) {
    return kind == CollectKind::kMinor ? core_->CollectMinor(self) : core_->Collect(self);
  });
}

absl::Status Heap::Freeze() {
  return RunStopping("Heap::Freeze", [this](Mutator* self) { return core_->Freeze(self); });
}

absl::Status Heap::Verify() {
  return RunStopping("Heap::Verify", [this](Mutator* self) { return core_->Verify(self); });
}

absl::Status Heap::ReportExternal(int64_t bytes) { return core_->ReportExternal(bytes); }

absl::Status Heap::Trim() { return core_->Trim(); }

absl::Status Heap::AddCleanupFor(uintptr_t object, absl::AnyInvocable<void() &&> cleanup) {
  if (object == 0) {
    return absl::InvalidArgumentError(
        "Heap::AddCleanup: the object is null; make it first, and hold it by a Local");
  }
  if (cleanup == nullptr) return absl::InvalidArgumentError("Heap::AddCleanup: an empty function");
  core_->cleanups().Add(object, std::move(cleanup));
  return absl::OkStatus();
}

int64_t Heap::RunCleanups() { return core_->cleanups().RunDue(); }

HeapStats Heap::stats() const { return core_->stats(); }

absl::StatusOr<int64_t> Heap::CountKernelMappings() const {
  return core_->spaces().CountKernelMappings();
}

Options Heap::options() const {
  Options options = core_->options();
  options.max_bytes = core_->max_bytes();
  return options;
}

absl::Status Heap::SetMaxBytes(int64_t max_bytes) { return core_->SetMaxBytes(max_bytes); }

void Heap::AddDeathWatch(internal::DeathWatch& watch) { core_->watches().Add(watch); }
void Heap::RemoveDeathWatch(internal::DeathWatch& watch) { core_->watches().Remove(watch); }
void Heap::AddPauseHook(internal::PauseHook& hook) { core_->safepoints().AddHook(hook); }
void Heap::RemovePauseHook(internal::PauseHook& hook) { core_->safepoints().RemoveHook(hook); }
internal::Spaces& Heap::spaces() { return core_->spaces(); }
internal::RootTable& Heap::roots() { return core_->roots(); }
internal::RootTable& Heap::weak_roots() { return core_->weak_roots(); }
platform::System& Heap::system() { return core_->system(); }

}  // namespace ebb
