// Random programs over Ptrs, Fields and Weaks, and beside each the standard library's.

#ifndef EBB_HEAP_RC_COUNTING_PROGRAMS_FOR_TEST_H_
#define EBB_HEAP_RC_COUNTING_PROGRAMS_FOR_TEST_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>

#include "gtest/gtest.h"
#include "heap/rc/rc.h"

namespace ebb::rc {

// Destructors count, so that what is destroyed is compared after each step.
struct Counted {
  Field<Counted> left, right;
  Weak<Counted> back;
  int64_t name = 0;
  int64_t* destroyed = nullptr;
  ~Counted() {
    if (destroyed != nullptr) *destroyed += name;
  }
};
struct Model {
  std::shared_ptr<Model> left, right;
  std::weak_ptr<Model> back;
  int64_t name = 0;
  int64_t* destroyed = nullptr;
  ~Model() {
    if (destroyed != nullptr) *destroyed += name;
  }
};

struct Programs {
  explicit Programs(uint64_t seed) : random(seed) {}

  static constexpr size_t kPlaces = 12;

  size_t Place() { return random() % kPlaces; }

  // May not upgrade where what has died is not destroyed yet: that would revive it.
  void Step(bool may_upgrade = true) {
    const size_t a = Place(), b = Place();
    switch (random() % (may_upgrade ? 10 : 8)) {
      case 0:
      case 1: {
        const int64_t name = next_name++;
        ptrs[a] = MakePtr<Counted>(ptrs[b], nullptr, nullptr, name, &destroyed);
        auto model = std::make_shared<Model>();
        model->left = models[b];
        model->name = name;
        model->destroyed = &model_destroyed;
        models[a] = model;
        break;
      }
      case 2:
        ptrs[a] = ptrs[b];
        models[a] = models[b];
        break;
      case 3:
        ptrs[a] = nullptr;
        models[a] = nullptr;
        break;
      case 4:
        // Only from the newer to the older: cycles would not go.
        if (ptrs[a] && (!ptrs[b] || ptrs[b]->name < ptrs[a]->name)) {
          ptrs[a]->right = ptrs[b];
          models[a]->right = models[b];
        }
        break;
      case 5:
        if (ptrs[a]) {
          ptrs[b] = ptrs[a]->left;
          models[b] = models[a]->left;
        }
        break;
      case 6:
        if (ptrs[a]) {
          ptrs[a]->back = ptrs[b];
          models[a]->back = models[b];
        }
        break;
      case 7:
        weaks[a] = ptrs[b];
        model_weaks[a] = models[b];
        break;
      case 8:
        if (ptrs[a]) {
          ptrs[b] = ptrs[a]->back.Upgrade();
          models[b] = models[a]->back.lock();
        }
        break;
      case 9:
        ptrs[a] = weaks[b].Upgrade();
        models[a] = model_weaks[b].lock();
        break;
    }
  }

  void DropAll() {
    for (size_t i = 0; i < kPlaces; ++i) {
      ptrs[i] = nullptr;
      models[i] = nullptr;
    }
  }

  void Compare() {
    ASSERT_EQ(destroyed, model_destroyed);
    for (size_t i = 0; i < kPlaces; ++i) {
      ASSERT_EQ(ptrs[i] != nullptr, models[i] != nullptr);
      if (!ptrs[i]) continue;
      ASSERT_EQ(ptrs[i]->name, models[i]->name);
      ASSERT_EQ(ptrs[i].use_count(), models[i].use_count());
      ASSERT_EQ(ptrs[i]->left != nullptr, models[i]->left != nullptr);
      ASSERT_EQ(ptrs[i]->right != nullptr, models[i]->right != nullptr);
    }
  }

  std::mt19937_64 random;
  int64_t next_name = 1;
  int64_t destroyed = 0, model_destroyed = 0;
  Ptr<Counted> ptrs[kPlaces];
  std::shared_ptr<Model> models[kPlaces];
  Weak<Counted> weaks[kPlaces];
  std::weak_ptr<Model> model_weaks[kPlaces];
};

}  // namespace ebb::rc

#endif  // EBB_HEAP_RC_COUNTING_PROGRAMS_FOR_TEST_H_
