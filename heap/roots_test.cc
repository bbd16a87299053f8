// Local, Persistent and the arguments of New as roots. Runs as it is and under stress modes.

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "heap/heap_fixture_for_test.h"
#include "heap/heap_for_test.h"

namespace ebb {
namespace {

class RootsTest : public HeapTest {};

TEST_F(RootsTest, LocalsFollowTheirObjects) {
  Local<Node> a(mutator_, mutator_.New<Node>(nullptr, nullptr, 1));
  Local<Node> b(mutator_);
  EXPECT_EQ(b, nullptr);
  b = mutator_.New<Node>(nullptr, nullptr, 2);
  Local<Node> copy = a;
  Collect();
  EXPECT_EQ(a->value, 1);
  EXPECT_EQ(b->value, 2);
  EXPECT_EQ(copy, a);
  a = b;
  EXPECT_EQ(a->value, 2);
  EXPECT_EQ(copy->value, 1);
  a = nullptr;
  EXPECT_FALSE(a);
}

// C++ destroys members of containers in any order; roots stay right.
TEST_F(RootsTest, LocalsMayGoInAnyOrder) {
  auto first = std::make_unique<Local<Node>>(mutator_, mutator_.New<Node>(nullptr, nullptr, 1));
  auto second = std::make_unique<Local<Node>>(mutator_, mutator_.New<Node>(nullptr, nullptr, 2));
  auto third = std::make_unique<Local<Node>>(mutator_, mutator_.New<Node>(nullptr, nullptr, 3));
  second.reset();
  Collect();
  EXPECT_EQ((*first)->value, 1);
  EXPECT_EQ((*third)->value, 3);
  first.reset();
  Collect();
  EXPECT_EQ((*third)->value, 3);
}

TEST_F(RootsTest, NewRootsItsArguments) {
  Ref<Node> left = mutator_.New<Node>(nullptr, nullptr, 5);
  Ref<Node> parent = mutator_.New<Node>(left, nullptr, 6);
  EXPECT_EQ(parent->left->value, 5);
  Local<Node> root(mutator_, parent);
  root = mutator_.New<Node>(root->left, root, 7);
  EXPECT_EQ(root->left->value, 5);
  EXPECT_EQ(root->right->value, 6);
}

TEST_F(RootsTest, PersistentsFollowTheirObjects) {
  Persistent<Node> a(*heap_, mutator_.New<Node>(nullptr, nullptr, 1));
  Persistent<Node> b = a;
  Persistent<Node> c;
  EXPECT_EQ(c, nullptr);
  Collect();
  EXPECT_EQ(a->value, 1);
  EXPECT_EQ(b.get(), a.get());
  c = std::move(a);
  EXPECT_EQ(a, nullptr);  // NOLINT: moved from is null
  Collect();
  EXPECT_EQ(c->value, 1);
  c = mutator_.New<Node>(nullptr, nullptr, 2);
  EXPECT_EQ(c->value, 2);
  EXPECT_EQ(b->value, 1);
  b = nullptr;
  c = b;
  Collect();
  EXPECT_EQ(heap_->stats().live_bytes, 0);
}

TEST_F(RootsTest, PersistentsInContainers) {
  std::map<std::string, Persistent<Node>> map;
  std::vector<Persistent<Node>> vector;
  for (int i = 0; i < 1200; ++i) {  // more than a chunk of slots
    vector.emplace_back(*heap_, mutator_.New<Node>(nullptr, nullptr, i));
    if (i % 100 == 0) map[std::to_string(i)] = vector.back();
  }
  vector.erase(vector.begin() + 10, vector.begin() + 1190);
  Collect();
  EXPECT_EQ(vector[9]->value, 9);
  EXPECT_EQ(vector[10]->value, 1190);
  EXPECT_EQ(map["500"]->value, 500);
  EXPECT_EQ(heap_->stats().persistents, 20 + 12);
  map.clear();
  vector.clear();
  Collect();
  EXPECT_EQ(heap_->stats().persistents, 0);
  EXPECT_EQ(heap_->stats().live_bytes, 0);
}

TEST_F(RootsTest, PersistentsOfThreadsThatAreNotAttached) {
  Persistent<Node> root(*heap_, mutator_.New<Node>(nullptr, nullptr, 9));
  Blocking blocking(mutator_);
  std::thread([&] {
    Persistent<Node> copy = root;
    EXPECT_TRUE(copy);
    EXPECT_TRUE(heap_->Collect().ok());
    Mutator mutator(*heap_);
    EXPECT_EQ(copy->value, 9);
  }).join();
}

TEST(RootsOutliveTest, LocalsAndPersistentsOutliveTheirHeap) {
  std::optional<Persistent<Node>> persistent;
  std::unique_ptr<Local<Node>> local;
  {
    auto heap = NewHeap();
    Mutator mutator(*heap);
    persistent.emplace(*heap, mutator.New<Node>());
    local = std::make_unique<Local<Node>>(mutator, mutator.New<Node>());
  }
  EXPECT_EQ(*persistent, nullptr);
  EXPECT_FALSE(*local);
  Persistent<Node> copy = *persistent;
  EXPECT_EQ(copy, nullptr);
}

}  // namespace
}  // namespace ebb
