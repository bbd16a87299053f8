// Misuse that debug builds stop at the check meant for it, with a message that names the mistake.

#include <memory>
#include <optional>
#include <thread>

#include "gtest/gtest.h"
#include "heap/heap_for_test.h"

namespace ebb {
namespace {

class HeapDeathTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!EBB_DEBUG_REFS) GTEST_SKIP() << "references are checked in debug builds only";
    GTEST_FLAG_SET(death_test_style, "threadsafe");
  }

  std::unique_ptr<Heap> heap_ = NewHeap(4 << 20);
  Mutator mutator_{*heap_};
};

TEST_F(HeapDeathTest, StaleRefAfterNew) {
  Ref<Node> node = mutator_.New<Node>();
  EXPECT_EQ(node->value, 0);
  mutator_.New<Node>();
  EXPECT_DEATH((void)node->value, "a stale ebb::Ref.*ebb::Local");
}

TEST_F(HeapDeathTest, StaleRefAfterCollect) {
  Local<Node> root(mutator_, mutator_.New<Node>());
  Ref<Node> node = root;
  ASSERT_TRUE(heap_->Collect().ok());
  EXPECT_EQ(root->value, 0);
  EXPECT_DEATH((void)node.get(), "a stale ebb::Ref");
  EXPECT_DEATH(root = node, "a stale ebb::Ref");
  EXPECT_DEATH(root->left = node, "a stale ebb::Ref");
}

TEST_F(HeapDeathTest, StaleRefAfterSafepointAndBlocking) {
  Local<Node> root(mutator_, mutator_.New<Node>());
  Ref<Node> node = root;
  mutator_.Safepoint();
  EXPECT_DEATH((void)node->value, "a stale ebb::Ref");
  node = root;
  { Blocking blocking(mutator_); }
  EXPECT_DEATH((void)node->value, "a stale ebb::Ref");
}

TEST_F(HeapDeathTest, StaleRefAsAnArgumentOfNew) {
  Ref<Node> node = mutator_.New<Node>();
  mutator_.New<Node>();
  EXPECT_DEATH(mutator_.New<Node>(node, nullptr, 1), "a stale ebb::Ref");
}

TEST_F(HeapDeathTest, RefOfAnotherThread) {
  Ref<Node> node = mutator_.New<Node>();
  EXPECT_DEATH(std::thread([&] { (void)node->value; }).join(),
               "uses an ebb::Ref that another thread made");
  EXPECT_DEATH(std::thread([&] {
                 Mutator own(*heap_);
                 (void)node->value;
               }).join(),
               "uses an ebb::Ref that another thread made");
}

TEST_F(HeapDeathTest, RefThatOutlivesItsMutator) {
  Ref<Node> node;
  {
    Mutator inner(*heap_);
    node = inner.New<Node>();
  }
  EXPECT_DEATH((void)node->value, "whose Mutator has gone");
}

TEST_F(HeapDeathTest, FieldTouchedByAThreadThatIsNotAttached) {
  Local<Node> root(mutator_, mutator_.New<Node>());
  Node* node = root.get();
  const char* const message =
      "lies in no heap that the thread is attached to: make an ebb::Mutator";
  EXPECT_DEATH(std::thread([=] { (void)node->left.load(); }).join(), message);
  EXPECT_DEATH(std::thread([=] { node->left = nullptr; }).join(), message);
}

TEST_F(HeapDeathTest, PersistentReadByAThreadThatIsNotAttached) {
  Persistent<Node> root(*heap_, mutator_.New<Node>());
  EXPECT_DEATH(std::thread([&] { (void)root->value; }).join(),
               "lies in no heap that the thread is attached to");
}

TEST_F(HeapDeathTest, FieldTouchedInABlockingScope) {
  Local<Node> root(mutator_, mutator_.New<Node>());
  Node* node = root.get();
  Blocking blocking(mutator_);
  EXPECT_DEATH((void)node->left.load(), "touches its heap in a Blocking scope");
  EXPECT_DEATH(node->left = nullptr, "touches its heap in a Blocking scope");
}

TEST_F(HeapDeathTest, FieldOutsideOfAnyHeap) {
  Node on_stack;
  EXPECT_DEATH(on_stack.left = mutator_.New<Node>(), "keep Fields in managed objects only");
  EXPECT_DEATH((void)on_stack.left.load(), "keep Fields in managed objects only");
}

TEST_F(HeapDeathTest, PersistentWithoutAHeap) {
  Persistent<Node> persistent;
  EXPECT_EQ(persistent, nullptr);
  EXPECT_DEATH(persistent = mutator_.New<Node>(),
               "a default-constructed ebb::Persistent or ebb::Weak has no heap");
}

TEST_F(HeapDeathTest, MutatorDestroyedByAnotherThread) {
  EXPECT_DEATH(
      {
        auto mutator = std::make_unique<Mutator>(*heap_);
        std::thread([&] { mutator.reset(); }).join();
      },
      "must be destroyed by the thread that made it");
}

TEST_F(HeapDeathTest, LocalThatIsAssignedAfterItsMutator) {
  auto mutator = std::make_unique<Mutator>(*heap_);
  Local<Node> local(*mutator, mutator->New<Node>());
  mutator = nullptr;
  EXPECT_EQ(local, nullptr);
  EXPECT_DEATH(local = mutator_.New<Node>(), "an ebb::Local is assigned whose Mutator has gone");
}

TEST_F(HeapDeathTest, MutatorThatGoesBeforeItsScopes) {
  EXPECT_DEATH(
      {
        auto mutator = std::make_unique<Mutator>(*heap_);
        const Blocking blocking(*mutator);
        mutator = nullptr;
      },
      "an ebb::Blocking scope must end before its Mutator does");
  EXPECT_DEATH(
      {
        auto mutator = std::make_unique<Mutator>(*heap_);
        const NoSafepoint scope(*mutator);
        mutator = nullptr;
      },
      "an ebb::NoSafepoint scope must end before its Mutator does");
}

TEST_F(HeapDeathTest, IndexPastTheEnd) {
  Local<Array<int64_t>> array(mutator_, mutator_.NewArray<int64_t>(3));
  EXPECT_DEATH((*array)[3] = 1, "index past the end of .*Array");
}

}  // namespace
}  // namespace ebb
