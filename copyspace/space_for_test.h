// SpaceForTest: a copy space with everything it needs, the system a fake one. For tests only.

#ifndef EBB_COPYSPACE_SPACE_FOR_TEST_H_
#define EBB_COPYSPACE_SPACE_FOR_TEST_H_

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/log/check.h"
#include "copyspace/copy_space.h"
#include "copyspace/geometry.h"
#include "copyspace/ledger.h"
#include "copyspace/mutators_stopped_for_test.h"
#include "platform/fake_system.h"

namespace ebb::copyspace {

class SpaceForTest {
 public:
  // `options.range` is filled in: `slabs` slabs.
  explicit SpaceForTest(Bytes limit, CopySpace::Options options = {}, int slabs = 2)
      : ledger_(limit) {
    const Bytes size = kSlabSize * slabs;
    auto range = system_.Reserve(size, options.fixed ? size : kSlabSize, "a test's copy space");
    CHECK_OK(range.status());
    range_ = *range;
    options.range = range_;
    auto space = CopySpace::Create(system_, ledger_, options);
    CHECK_OK(space.status());
    space_ = *std::move(space);
  }
  ~SpaceForTest() {
    space_.reset();
    CHECK_EQ(ledger_.used().count(), 0) << "the space did not credit what it had debited";
    system_.StopFailing();
    CHECK_OK(system_.Release(range_, "a test's copy space"));
  }

  CopySpace& operator*() { return *space_; }
  CopySpace* operator->() { return space_.get(); }
  Ledger& ledger() { return ledger_; }
  platform::FakeSystem& system() { return system_; }
  const MutatorsStopped& stopped() const { return stopped_.token(); }

 private:
  platform::FakeSystem system_;
  Ledger ledger_;
  MutatorsStoppedForTest stopped_;
  AddressRange range_;
  std::unique_ptr<CopySpace> space_;
};

// `count` blocks for mutators.
inline std::vector<Block*> Acquire(SpaceForTest& space, int count) {
  std::vector<Block*> blocks;
  for (int i = 0; i < count; ++i) {
    blocks.push_back(space->AcquireBlock(AcquirePurpose::kMutator, Bytes(16)));
    CHECK(blocks.back() != nullptr) << "the space is too small for the test";
  }
  return blocks;
}

inline void Return(SpaceForTest& space, const std::vector<Block*>& blocks, uint32_t used) {
  for (Block* block : blocks) space->ReturnBlock(block, used);
}

// What `blocks` blocks of a space without field logging cost.
inline Bytes PriceOf(int64_t blocks) {
  return (kBlockSize + CopySpace::MetadataPerBlock(false)) * blocks;
}

}  // namespace ebb::copyspace

#endif  // EBB_COPYSPACE_SPACE_FOR_TEST_H_
