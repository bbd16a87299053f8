#include "copyspace/page_out_queue.h"

namespace ebb::copyspace {

void PageOutQueue::Advance(BlockStack empty) {
  for (int age = kOldestInCore; age > 0; --age) ages_[age].PushAll(std::move(ages_[age - 1]));
  ages_[0] = std::move(empty);
}

Block* PageOutQueue::PopYoungestInCore() {
  for (int age = 0; age <= kOldestInCore; ++age) {
    if (Block* block = ages_[age].Pop(); block != nullptr) return block;
  }
  return nullptr;
}

Block* PageOutQueue::PopOldestInCore() {
  for (int age = kOldestInCore; age >= 0; --age) {
    if (Block* block = ages_[age].Pop(); block != nullptr) return block;
  }
  return nullptr;
}

}  // namespace ebb::copyspace
