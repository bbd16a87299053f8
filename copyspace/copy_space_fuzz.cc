// No sequence of operations breaks the copy space. As an ordinary test, it draws sequences from
// seeds; with --config=fuzz, libFuzzer makes them up.

#include <cstddef>
#include <cstdint>

#include "absl/log/check.h"
#include "copyspace/copy_space_driver.h"
#include "platform/fake_system.h"

namespace ebb::copyspace {
namespace {

// Each byte or two decide one choice; at the input's end all choices are 0.
class Bytecode {
 public:
  Bytecode(const uint8_t* data, size_t size) : data_(data), end_(data + size) {}

  bool empty() const { return data_ == end_; }
  uint32_t Draw(uint32_t bound) {
    uint32_t value = Next();
    if (bound > 256) value = value << 8 | Next();
    return value % bound;
  }

 private:
  uint32_t Next() { return empty() ? 0 : *data_++; }

  const uint8_t* data_;
  const uint8_t* end_;
};

void RunOperations(const uint8_t* data, size_t size) {
  Bytecode code(data, size);
  const auto draw = [&code](uint32_t bound) { return code.Draw(bound); };
  CopySpace::Options options;
  options.overdraft = kBlockSize * draw(4);
  options.hard_limit_slack = kBlockSize * draw(4);
  options.field_logging = draw(2) != 0;
  CopySpaceDriver driver(platform::KiB(600) + kBlockSize * draw(16), options);
  if (const uint32_t every = draw(8); every > 1) {
    driver.system().FailEvery(platform::Call::kDiscardBatch, static_cast<int>(every));
    driver.system().FailEvery(platform::Call::kProtect, static_cast<int>(every));
  }
  while (!code.empty()) CHECK_OK(driver.Step(draw));
  CHECK_OK(driver.Verify());
}

}  // namespace
}  // namespace ebb::copyspace

#ifdef EBB_LIBFUZZER

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  ebb::copyspace::RunOperations(data, size);
  return 0;
}

#else

#include <random>
#include <vector>

#include "gtest/gtest.h"

namespace ebb::copyspace {
namespace {

TEST(CopySpaceFuzz, SeededSequences) {
  for (uint32_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::mt19937 random(seed);
    std::vector<uint8_t> input(4000);
    for (uint8_t& byte : input) byte = static_cast<uint8_t>(random());
    RunOperations(input.data(), input.size());
  }
}

}  // namespace
}  // namespace ebb::copyspace

#endif
