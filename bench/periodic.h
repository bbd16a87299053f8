// Periodic: something that is done again and again beside a workload, such as reading how much
// memory it uses.

#ifndef EBB_BENCH_PERIODIC_H_
#define EBB_BENCH_PERIODIC_H_

#include <functional>
#include <thread>
#include <utility>

#include "absl/synchronization/notification.h"
#include "absl/time/time.h"

namespace ebb::bench {

// Calls `function` on a thread of its own: at once, and `interval` after each call has returned.
// When the destructor returns, no call is under way and none will come.
class Periodic {
 public:
  Periodic(absl::Duration interval, std::function<void()> function)
      : thread_([this, interval, function = std::move(function)] {
          do {
            function();
          } while (!stop_.WaitForNotificationWithTimeout(interval));
        }) {}
  Periodic(const Periodic&) = delete;
  Periodic& operator=(const Periodic&) = delete;
  ~Periodic() {
    stop_.Notify();
    thread_.join();
  }

 private:
  absl::Notification stop_;  // before the thread, which waits for it
  std::thread thread_;
};

}  // namespace ebb::bench

#endif  // EBB_BENCH_PERIODIC_H_
