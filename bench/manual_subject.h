// A peer: manual ownership on a malloc. Garbage is given back by ThreadContext::Free.

#ifndef EBB_BENCH_MANUAL_SUBJECT_H_
#define EBB_BENCH_MANUAL_SUBJECT_H_

#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <utility>

#include "absl/memory/memory.h"
#include "absl/status/statusor.h"
#include "bench/malloc_functions.h"
#include "bench/raw_pointers.h"
#include "bench/record.h"
#include "bench/subject_options.h"

namespace ebb::bench {

class ManualSubject : public RawPointerWords {
 public:
  static constexpr bool kManual = true;

  class Thread {
   public:
    explicit Thread(ManualSubject& subject) : functions_(subject.functions_) {}

    template <typename T, typename... Args>
    T* New(Args&&... args) {
      return new (functions_.allocate(sizeof(T))) T{std::forward<Args>(args)...};
    }
    // The elements are not set: C++ leaves that to whoever needs it.
    template <typename T>
    RawArray<T>* NewArray(int64_t length) {
      return new (functions_.allocate(RawArray<T>::SizeFor(length))) RawArray<T>(length);
    }
    template <typename T>
    RawArray<T*>* NewRefArray(int64_t length) {
      RawArray<T*>* array = NewArray<T*>(length);
      std::memset(&(*array)[0], 0, static_cast<size_t>(length) * sizeof(T*));
      return array;
    }
    void Free(void* object) { functions_.release(object); }

    void Safepoint() {}
    template <typename Function>
    void Blocked(Function function) {
      function();
    }

   private:
    MallocFunctions functions_;
  };

  static absl::StatusOr<std::unique_ptr<ManualSubject>> Create(const SubjectOptions& options) {
    absl::StatusOr<MallocFunctions> functions = MallocFunctions::Open(options.name);
    if (!functions.ok()) return functions.status();
    return absl::WrapUnique(new ManualSubject(*functions));
  }

  absl::Status Collect() { return absl::OkStatus(); }
  int64_t Collections() const { return 0; }
  void Describe(Record&) const {}

 private:
  explicit ManualSubject(MallocFunctions functions) : functions_(functions) {}
  const MallocFunctions functions_;
};

}  // namespace ebb::bench

#endif  // EBB_BENCH_MANUAL_SUBJECT_H_
