// SpinWait: how to wait for another thread's store that is expected very soon.
// Design: docs/design/platform.md#waiting

#ifndef EBB_PLATFORM_SPIN_WAIT_H_
#define EBB_PLATFORM_SPIN_WAIT_H_

namespace ebb::platform {

// Tells the processor that this is a spin loop: the other hardware thread of the core gets its
// share, and the loop's exit is not mispredicted.
inline void CpuRelax() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  // `isb` waits some tens of cycles, like x86's `pause`; `yield` is a no-op on most cores.
  asm volatile("isb" ::: "memory");
#else
  asm volatile("" ::: "memory");
#endif
}

// One waiting loop's state:
//
//   SpinWait wait;
//   while (word.load(std::memory_order_acquire) == kBusy) wait.Once();
//
// Pauses 1, 2, 4 ... kMaxPauses times, then yields the processor kYields times, then sleeps
// kSleepNanos each time: when there are more threads than processors, the thread that is waited
// for gets to run, whatever its priority. Gives no memory ordering. Thread-compatible.
class SpinWait {
 public:
  static constexpr int kMaxPauses = 64;
  static constexpr int kYields = 32;
  static constexpr int kSleepNanos = 50'000;

  void Once() {
    if (pauses_ > kMaxPauses) {
      OnceSlow();
      return;
    }
    for (int i = 0; i < pauses_; ++i) CpuRelax();
    pauses_ *= 2;
  }

  // To be called when what was waited for has happened and the next wait begins.
  void Reset() { *this = SpinWait(); }

 private:
  void OnceSlow();

  int pauses_ = 1;
  int yields_ = 0;
};

}  // namespace ebb::platform

#endif  // EBB_PLATFORM_SPIN_WAIT_H_
