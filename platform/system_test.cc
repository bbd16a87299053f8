#include "platform/system.h"

#include <sched.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "platform/address_range.h"
#include "platform/bytes.h"
#include "platform/memory_for_test.h"
#include "platform/page_size.h"
#include "platform/range_releaser.h"
#include "platform/read_file.h"

namespace ebb::platform {
namespace {

System& Real() { return System::Real(); }

char* At(AddressRange range) { return reinterpret_cast<char*>(range.begin); }

bool AllAre(AddressRange range, char want) {
  return std::all_of(At(range), At(range) + range.size.size(),
                     [want](char c) { return c == want; });
}

AddressRange Part(AddressRange range, Bytes offset, Bytes size) {
  return {.begin = range.begin + offset.size(), .size = size};
}

// A reservation that lasts as long as the scope.
class Reservation {
 public:
  explicit Reservation(Bytes size, Bytes alignment = MiB(2))
      : range_(*Real().Reserve(size, alignment, "test")) {}
  ~Reservation() { EXPECT_TRUE(Real().Release(range_, "test").ok()); }
  AddressRange range() const { return range_; }

 private:
  const AddressRange range_;
};

int64_t MappingsIn(AddressRange range) { return *Real().CountMappings(range); }

TEST(SystemTest, ReservesAligned) {
  for (Bytes alignment : {PageSize(), KiB(64), MiB(2), MiB(64), GiB(1)}) {
    const Reservation reservation(MiB(3), alignment);
    EXPECT_EQ(reservation.range().begin % alignment.size(), 0u);
    EXPECT_EQ(reservation.range().size, MiB(3));
  }
}

TEST(SystemTest, ReleaseGivesTheAddressesBack) {
  const AddressRange range = *Real().Reserve(GiB(1), MiB(64), "test");
  EXPECT_GE(MappingsIn(range), 1);
  ASSERT_TRUE(Real().Release(range, "test").ok());
  // Other mappings may have been made there meanwhile, but not one of 1 GiB.
  EXPECT_FALSE(
      absl::StrContains(*ReadFile("/proc/self/maps"),
                        absl::StrCat(absl::Hex(range.begin), "-", absl::Hex(range.end()))));
}

TEST(SystemTest, ReservesSeveralTimesTheMemory) {
  const Reservation reservation(GiB(256));
  EXPECT_EQ(reservation.range().size, GiB(256));
}

TEST(SystemTest, CommittedMemoryIsZeroAndWritable) {
  const Reservation reservation(MiB(4));
  const AddressRange part = Part(reservation.range(), MiB(1), MiB(1));
  ASSERT_TRUE(Real().Commit(part, "test").ok());
  EXPECT_TRUE(AllAre(part, 0));
  std::memset(At(part), 1, part.size.size());
  EXPECT_TRUE(AllAre(part, 1));
}

TEST(SystemTest, DiscardedMemoryIsZeroAndStaysWritable) {
  const Reservation reservation(MiB(4));
  const AddressRange all = reservation.range();
  ASSERT_TRUE(Real().Commit(all, "test").ok());
  std::memset(At(all), 1, all.size.size());
  const AddressRange part = Part(all, MiB(1), MiB(2));
  ASSERT_TRUE(Real().Discard(part, "test").ok());
  EXPECT_TRUE(AllAre(part, 0));
  EXPECT_TRUE(AllAre(Part(all, Bytes(0), MiB(1)), 1));
  EXPECT_TRUE(AllAre(Part(all, MiB(3), MiB(1)), 1));
  std::memset(At(part), 2, part.size.size());
  EXPECT_TRUE(AllAre(part, 2));
}

TEST(SystemTest, ProtectedMemoryKeepsItsContents) {
  const Reservation reservation(MiB(2));
  const AddressRange all = reservation.range();
  ASSERT_TRUE(Real().Commit(all, "test").ok());
  std::memset(At(all), 1, all.size.size());
  ASSERT_TRUE(Real().Protect(all, Access::kNone, "test").ok());
  ASSERT_TRUE(Real().Protect(all, Access::kReadWrite, "test").ok());
  EXPECT_TRUE(AllAre(all, 1));
}

TEST(SystemTest, CountsTheMappingsOfARange) {
  // What lies between others that differ is a mapping of its own.
  const Reservation reservation(MiB(8));
  const AddressRange all = reservation.range();
  const AddressRange middle = Part(all, MiB(2), MiB(4));
  ASSERT_TRUE(Real().Commit(middle, "test").ok());
  EXPECT_EQ(MappingsIn(all), 3);
  EXPECT_EQ(MappingsIn(middle), 1);
  EXPECT_EQ(MappingsIn(Part(all, MiB(1), MiB(2))), 2);
  ASSERT_TRUE(Real().Protect(Part(all, MiB(3), MiB(1)), Access::kNone, "test").ok());
  EXPECT_EQ(MappingsIn(all), 5);
  EXPECT_EQ(MappingsIn(middle), 3);
}

TEST(SystemTest, HugePageAdviceHoldsForAllThatIsCommittedLater) {
  const Reservation reservation(MiB(8));
  const AddressRange all = reservation.range();
  const absl::Status wanted = Real().AdviseHugePages(all, HugePageAdvice::kAlways, "test");
  if (absl::IsUnimplemented(wanted)) GTEST_SKIP() << wanted;
  ASSERT_TRUE(wanted.ok()) << wanted;
  const AddressRange middle = Part(all, MiB(2), MiB(4));
  ASSERT_TRUE(Real().Commit(middle, "test").ok());
  EXPECT_TRUE(absl::StrContains(*MappingFlags(middle.begin), " hg "));
  ASSERT_TRUE(Real().AdviseHugePages(all, HugePageAdvice::kNever, "test").ok());
  EXPECT_TRUE(absl::StrContains(*MappingFlags(middle.begin), " nh "));
  EXPECT_FALSE(absl::StrContains(*MappingFlags(middle.begin), " hg "));
  EXPECT_EQ(MappingsIn(middle), 1);
}

TEST(SystemDeathTest, ReservedOrProtectedMemoryCannotBeTouched) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const Reservation reservation(MiB(2));
  volatile char* const first = At(reservation.range());
  EXPECT_DEATH(*first = 1, "");
  ASSERT_TRUE(Real().Commit(reservation.range(), "test").ok());
  *first = 1;
  ASSERT_TRUE(Real().Protect(reservation.range(), Access::kNone, "test").ok());
  EXPECT_DEATH(*first = 1, "");
}

TEST(SystemTest, EmptyRangesAreFine) {
  const Reservation reservation(MiB(2));
  const AddressRange empty{.begin = reservation.range().begin, .size = Bytes(0)};
  EXPECT_TRUE(Real().Commit(empty, "test").ok());
  EXPECT_TRUE(Real().Discard(empty, "test").ok());
  EXPECT_TRUE(Real().Protect(empty, Access::kNone, "test").ok());
  EXPECT_TRUE(Real().AdviseHugePages(empty, HugePageAdvice::kNever, "test").ok());
  EXPECT_EQ(MappingsIn(empty), 0);
  EXPECT_TRUE(Real().Release(empty, "test").ok());
}

// Neighbours share a kernel mapping, in whatever order they are committed and touched.
TEST(SystemTest, CommitsOfNeighboursShareMappings) {
  constexpr int kPieces = 100;
  const Bytes piece = KiB(128);
  std::vector<int> up, down, evens_then_odds;
  for (int i = 0; i < kPieces; ++i) {
    up.push_back(i);
    down.push_back(kPieces - 1 - i);
  }
  for (int i = 0; i < kPieces; ++i) evens_then_odds.push_back(2 * i % kPieces + 2 * i / kPieces);
  for (bool touch : {false, true}) {
    for (const std::vector<int>& order : {up, down}) {
      const Reservation reservation(piece * kPieces);
      for (int i : order) {
        const AddressRange part = Part(reservation.range(), piece * i, piece);
        ASSERT_TRUE(Real().Commit(part, "test").ok());
        if (touch) *At(part) = 1;
      }
      EXPECT_LE(MappingsIn(reservation.range()), 3) << "touch=" << touch;
    }
  }
  const Reservation reservation(piece * kPieces);
  for (int i : evens_then_odds) {
    ASSERT_TRUE(Real().Commit(Part(reservation.range(), piece * i, piece), "test").ok());
  }
  EXPECT_LE(MappingsIn(reservation.range()), 3);
}

void ExpectError(const absl::Status& status, absl::StatusCode code,
                 const std::vector<std::string>& parts) {
  EXPECT_EQ(status.code(), code) << status;
  for (const std::string& part : parts) {
    EXPECT_TRUE(absl::StrContains(status.message(), part)) << part << " is not in: " << status;
  }
}

TEST(SystemTest, MisalignedRangesAreRefused) {
  const Reservation reservation(MiB(2));
  const AddressRange bad{.begin = reservation.range().begin + 8, .size = PageSize()};
  const std::vector<std::string> parts = {absl::StrCat(bad), bad.size.ToString(), "slab 3",
                                          "Invalid argument"};
  const auto kInvalid = absl::StatusCode::kInvalidArgument;
  ExpectError(Real().Commit(bad, "slab 3"), kInvalid, parts);
  ExpectError(Real().Discard(bad, "slab 3"), kInvalid, parts);
  ExpectError(Real().Protect(bad, Access::kNone, "slab 3"), kInvalid, parts);
  ExpectError(Real().AdviseHugePages(bad, HugePageAdvice::kNever, "slab 3"), kInvalid, parts);
  ExpectError(Real().Release(bad, "slab 3"), kInvalid, parts);
}

TEST(SystemTest, UnmappedRangesAreErrors) {
  const AddressRange gone = *Real().Reserve(MiB(2), MiB(2), "test");
  ASSERT_TRUE(Real().Release(gone, "test").ok());
  const std::vector<std::string> parts = {absl::StrCat(gone), gone.size.ToString(), "slab 3",
                                          "Cannot allocate memory"};
  const auto kExhausted = absl::StatusCode::kResourceExhausted;
  ExpectError(Real().Commit(gone, "slab 3"), kExhausted, parts);
  ExpectError(Real().Discard(gone, "slab 3"), kExhausted, parts);
  ExpectError(Real().Protect(gone, Access::kNone, "slab 3"), kExhausted, parts);
  ExpectError(Real().AdviseHugePages(gone, HugePageAdvice::kNever, "slab 3"), kExhausted, parts);
}

TEST(SystemTest, ImpossibleReservationsAreErrors) {
  const auto kInvalid = absl::StatusCode::kInvalidArgument;
  for (Bytes size : {Bytes(0), Bytes(-4096), Bytes(5000)}) {
    ExpectError(Real().Reserve(size, MiB(2), "slab 3").status(), kInvalid,
                {"slab 3", size.ToString()});
  }
  for (Bytes alignment :
       {Bytes(0), Bytes(64), MiB(3), Bytes(-4096), Bytes(std::numeric_limits<int64_t>::min())}) {
    ExpectError(Real().Reserve(MiB(4), alignment, "slab 3").status(), kInvalid,
                {"slab 3", alignment.ToString()});
  }
  const Bytes most(std::numeric_limits<int64_t>::max() / PageSize().count() * PageSize().count());
  for (Bytes size : {GiB(int64_t{1} << 20), most}) {
    ExpectError(Real().Reserve(size, MiB(64), "slab 3").status(),
                absl::StatusCode::kResourceExhausted,
                {"slab 3", size.ToString(), "Cannot allocate memory"});
  }
}

TEST(SystemTest, ResidentMemoryFollowsWhatIsTouched) {
  const Bytes size = MiB(64), slop = MiB(16);
  const Reservation reservation(size);
  ASSERT_TRUE(Real().Commit(reservation.range(), "test").ok());
  const Bytes before = *Real().ResidentMemory();
  EXPECT_GT(before, Bytes(0));
  std::memset(At(reservation.range()), 1, size.size());
  const Bytes touched = *Real().ResidentMemory();
  EXPECT_GE(touched, before + size - slop);
  ASSERT_TRUE(Real().Discard(reservation.range(), "test").ok());
  EXPECT_LE(*Real().ResidentMemory(), touched - size + slop);
  EXPECT_GE(*Real().PeakResidentMemory(), touched - slop);
}

TEST(SystemTest, MachineFactsArePlausible) {
  cpu_set_t affinity;
  ASSERT_EQ(sched_getaffinity(0, sizeof(affinity), &affinity), 0);
  EXPECT_GE(Real().ProcessorCount(), 1);
  EXPECT_LE(Real().ProcessorCount(), CPU_COUNT(&affinity));
  EXPECT_GE(Real().MemoryLimit(), *Real().ResidentMemory());
}

TEST(SystemTest, ProcessorCountFollowsAffinity) {
  cpu_set_t before;
  ASSERT_EQ(sched_getaffinity(0, sizeof(before), &before), 0);
  cpu_set_t one;
  CPU_ZERO(&one);
  for (int i = 0; i < CPU_SETSIZE && CPU_COUNT(&one) == 0; ++i) {
    if (CPU_ISSET(i, &before)) CPU_SET(i, &one);
  }
  ASSERT_EQ(sched_setaffinity(0, sizeof(one), &one), 0);
  EXPECT_EQ(Real().ProcessorCount(), 1);
  ASSERT_EQ(sched_setaffinity(0, sizeof(before), &before), 0);
}

TEST(SystemTest, StartsThreads) {
  bool ran = false;
  auto thread = Real().StartThread("worker", [&ran] { ran = true; });
  ASSERT_TRUE(thread.ok()) << thread.status();
  (*thread)->Join();
  EXPECT_TRUE(ran);
}

}  // namespace
}  // namespace ebb::platform
