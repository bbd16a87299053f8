// Heap::Verify reports seeded faults, naming what is wrong and where.

#include "heap/verifier.h"

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "heap/heap_for_test.h"

namespace ebb {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// Puts a word somewhere behind the heap's back, and the old one back at the end.
class Overwrite {
 public:
  Overwrite(uintptr_t address, uintptr_t word)
      : word_(*reinterpret_cast<std::atomic<uintptr_t>*>(address)),
        // Relaxed: this thread's alone.
        old_(word_.exchange(word, std::memory_order_relaxed)) {}
  ~Overwrite() { word_.store(old_, std::memory_order_relaxed); }

 private:
  std::atomic<uintptr_t>& word_;
  const uintptr_t old_;
};

template <typename T>
uintptr_t AddressOf(const T* object) {
  return reinterpret_cast<uintptr_t>(object);
}

class VerifierTest : public ::testing::Test {
 protected:
  // The seeded faults are not for the stress modes to stumble over.
  static Options TestOptions() {
    Options options;
    options.max_bytes = 4 << 20;
    options.read_environment = false;
    return options;
  }

  std::string Fault() {
    absl::Status status = heap_->Verify();
    EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
    return std::string(status.message());
  }

  std::unique_ptr<Heap> heap_ = NewHeap(TestOptions());
  Mutator mutator_{*heap_};
  Local<Node> root_{mutator_, NewTree(mutator_, 3)};

  void TearDown() override {
    absl::Status status = heap_->Verify();
    EXPECT_TRUE(status.ok()) << status;
    EXPECT_EQ(Sum(root_), 15);
  }
};

TEST_F(VerifierTest, FieldIntoFromSpace) {
  const uintptr_t old_place = AddressOf(root_->left.get());
  ASSERT_TRUE(heap_->Collect().ok());
  ASSERT_NE(AddressOf(root_->left.get()), old_place);
  const Overwrite fault(AddressOf(&root_->left), old_place);
  EXPECT_THAT(Fault(), AllOf(HasSubstr("the field at offset 0 of the ebb::Node at "),
                             HasSubstr(absl::StrCat(absl::Hex(old_place))),
                             HasSubstr("is in from-space (inv.tospace)")));
}

TEST_F(VerifierTest, FieldOutsideOfTheHeap) {
  alignas(16) static uint64_t elsewhere[4] = {};
  const Overwrite fault(AddressOf(&root_->left->right), AddressOf(&elsewhere[1]));
  EXPECT_THAT(Fault(), AllOf(HasSubstr("the field at offset 8 of the ebb::Node at "),
                             HasSubstr("is not in this heap")));
}

TEST_F(VerifierTest, FieldIntoAnotherHeap) {
  auto other = NewHeap(TestOptions());
  Mutator in_other(*other);
  Local<Node> theirs(in_other, in_other.New<Node>());
  root_->right = mutator_.New<Node>(nullptr, root_->right, 0);
  {
    const Overwrite fault(AddressOf(&root_->right->left), AddressOf(theirs.get()));
    EXPECT_THAT(Fault(), HasSubstr("is not in this heap"));
  }
}

TEST_F(VerifierTest, FieldIntoTheMiddleOfAnObject) {
  const uintptr_t middle = AddressOf(&root_->left->right);
  const Overwrite fault(AddressOf(&root_->right), middle);
  EXPECT_THAT(Fault(), HasSubstr("is not the beginning of an object in the active region"));
}

TEST_F(VerifierTest, FieldIntoFreeMemory) {
  Ref<Node> last = mutator_.New<Node>();
  const Overwrite fault(AddressOf(&root_->right), AddressOf(last.get()) + sizeof(Node) + 8);
  EXPECT_THAT(Fault(), HasSubstr("is not the beginning of an object in the active region"));
}

TEST_F(VerifierTest, ElementOfAnArray) {
  Local<RefArray<Node>> array(mutator_, mutator_.NewRefArray<Node>(20));
  const Overwrite fault(AddressOf(&(*array)[10]), 8);
  EXPECT_THAT(Fault(), AllOf(HasSubstr("the field at offset 88 of the ebb::Field<ebb::Node>[]"),
                             HasSubstr("holds 8, which is not in this heap")));
}

TEST_F(VerifierTest, Root) {
  Local<Node> root(mutator_, root_);
  root.bits() += 8;
  EXPECT_THAT(Fault(), HasSubstr("a root holds"));
  root = nullptr;
}

TEST_F(VerifierTest, DamagedHeader) {
  alignas(TypeInfo) static const std::array<uint64_t, 16> not_a_type = {};
  const uintptr_t header = AddressOf(root_->left.get()) - kHeaderBytes;
  const std::string expected = absl::StrCat("no header at ", absl::Hex(header));
  for (uintptr_t word :
       {uintptr_t{0}, AddressOf(&not_a_type), uintptr_t{1}, uintptr_t{0xdeadbeefdeadbee8},
        AddressOf(root_.get()) | 2, AddressOf(&kTypeInfo<Node>) + 8}) {
    const Overwrite fault(header, word);
    EXPECT_THAT(Fault(), AllOf(HasSubstr("inv.region-parsable"), HasSubstr(expected))) << word;
  }
}

TEST_F(VerifierTest, HeaderOfAnotherSize) {
  const Overwrite fault(AddressOf(root_->left.get()) - kHeaderBytes,
                        AddressOf(&kTypeInfo<double>));
  EXPECT_THAT(Fault(), HasSubstr("inv.region-parsable"));
}

TEST_F(VerifierTest, DamagedLength) {
  Local<Array<double>> array(mutator_, mutator_.NewArray<double>(10));
  for (uintptr_t length : {uintptr_t{9}, uintptr_t{1'000}, uintptr_t{1} << 61, ~uintptr_t{0},
                           ~uintptr_t{0} - 1}) {
    const Overwrite fault(AddressOf(array.get()), length);
    EXPECT_THAT(Fault(), HasSubstr("inv.region-parsable")) << length;
  }
}

TEST_F(VerifierTest, FieldIntoTheMiddleOfAnObjectInPlace) {
  Local<Node> pinned(mutator_, mutator_.NewPinned<Node>());
  Local<Array<double>> large(mutator_, mutator_.NewArray<double>(5'000));
  for (uintptr_t place : {AddressOf(pinned.get()) + 8, AddressOf(pinned.get()) + 64,
                          AddressOf(large.get()) + 8, AddressOf(large.get()) + 4096,
                          AddressOf(large.get()) + (1 << 20)}) {
    const Overwrite fault(AddressOf(&root_->right), place);
    EXPECT_THAT(Fault(), HasSubstr("is not a pinned or large object")) << place;
  }
}

TEST_F(VerifierTest, DamagedHeaderOfAnObjectInPlace) {
  Local<Node> pinned(mutator_, mutator_.NewPinned<Node>());
  Local<Array<double>> large(mutator_, mutator_.NewArray<double>(5'000));
  for (uintptr_t object : {AddressOf(pinned.get()), AddressOf(large.get())}) {
    const Overwrite fault(object - kHeaderBytes, 0);
    EXPECT_THAT(Fault(), HasSubstr("is not a pinned or large object"));
  }
}

TEST_F(VerifierTest, StressVerifyStopsAtAFault) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  Options options = TestOptions();
  options.stress.verify = true;
  auto heap = NewHeap(options);
  Mutator mutator(*heap);
  Local<Node> root(mutator, mutator.New<Node>());
  EXPECT_DEATH(
      {
        root.bits() += 8;
        (void)heap->Collect();
      },
      "Heap::Verify before a cycle.*a root holds");
}

}  // namespace
}  // namespace ebb
