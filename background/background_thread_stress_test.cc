// Tasks are added and removed by several threads, from inside tasks too, while ticks run on the
// thread itself and elsewhere. A task never runs twice at a time, nor once RemoveTask has returned.

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "absl/time/time.h"
#include "background/background_thread.h"
#include "background/soak.h"
#include "gtest/gtest.h"
#include "platform/system.h"

namespace ebb::background {
namespace {

TEST(BackgroundThreadStressTest, AddRemoveTick) {
  auto created =
      BackgroundThread::Create(platform::System::Real(), {.tick = absl::Microseconds(100)});
  ASSERT_TRUE(created.ok());
  BackgroundThread& background = **created;
  const Deadline deadline(absl::Seconds(1));
  std::atomic<int64_t> runs{0};
  int running = 0;  // an ordinary variable: only one task runs at a time

  auto add_and_remove = [&] {
    while (!deadline.passed()) {
      // Freed after RemoveTask: AddressSanitizer complains about a task that still runs.
      auto lives = std::make_unique<bool>(true);
      const BackgroundThread::TaskId id =
          background.AddTask(Stage::kMiddle, "stress", [&, alive = lives.get()] {
            EXPECT_EQ(++running, 1);
            EXPECT_TRUE(*alive);
            // A guest that is added and removed from inside.
            const auto guest = background.AddTask(Stage::kEnd, "guest", [] {});
            EXPECT_TRUE(background.RemoveTask(guest));
            ++runs;
            --running;
          });
      background.Tick();
      EXPECT_TRUE(background.RemoveTask(id));
      *lives = false;
    }
  };
  // A task that removes itself, for a while removed by another thread too.
  auto remove_itself = [&] {
    while (!deadline.passed()) {
      std::atomic<BackgroundThread::TaskId> self{0};
      std::atomic<int> removals{0};
      self = background.AddTask(Stage::kStart, "once", [&] {
        if (self != 0) removals += background.RemoveTask(self);
      });
      std::this_thread::yield();
      removals += background.RemoveTask(self);
      EXPECT_EQ(removals, 1);
    }
  };

  std::vector<std::thread> threads;
  threads.emplace_back(add_and_remove);
  threads.emplace_back(add_and_remove);
  threads.emplace_back(remove_itself);
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(background.task_count(), 0);
  EXPECT_GT(runs, 0);
}

}  // namespace
}  // namespace ebb::background
