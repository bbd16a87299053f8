#include "copyspace/copy_space_driver.h"

#include <cstring>

#include "absl/log/check.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_format.h"
#include "copyspace/field_log.h"
#include "copyspace/forwarding_word.h"

namespace ebb::copyspace {
namespace {

constexpr size_t kMaxLive = 400;

uint64_t* Words(uintptr_t address) { return reinterpret_cast<uint64_t*>(address); }
uint64_t Stamp(uint64_t identity, size_t index) { return identity << 20 | index; }

absl::Status Wrong(absl::string_view what, uintptr_t address) {
  return absl::InternalError(absl::StrFormat("%s, at %#x", what, address));
}

}  // namespace

CopySpaceDriver::CopySpaceDriver(Bytes limit, const CopySpace::Options& options)
    : options_(options), space_(limit, options, /*slabs=*/1) {}

CopySpaceDriver::~CopySpaceDriver() { CloseAll(); }

absl::Status CopySpaceDriver::Step(Draw draw) {
  const uint32_t op = draw(64);
  BumpAllocator& allocator = allocators_[draw(allocators_.size())];
  if (op < 36) return Allocate(allocator, draw);
  switch (op) {
    case 36 ... 41:
      Drop(draw);
      return absl::OkStatus();
    case 42 ... 44:
      allocator.Close(*space_);
      return absl::OkStatus();
    case 45 ... 48:
      return Collect(draw);
    case 49:
    case 50:
      space_->AdvancePageOutAges();
      Report(space_->DiscardOldest());
      return absl::OkStatus();
    case 51:
      Report(space_->Shrink(kBlockSize * draw(6) + Bytes(draw(5000))));
      return absl::OkStatus();
    case 52:
      space_->Expand(kBlockSize * draw(6) + Bytes(draw(5000)));
      return absl::OkStatus();
    case 53:
      Report(space_->PageOutNow(kBlockSize * draw(4)));
      return absl::OkStatus();
    case 54:
      Report(space_->DiscardReserve());
      return absl::OkStatus();
    case 55:
      space_->PoisonReserve(space_.stopped());
      return absl::OkStatus();
    case 56:
      Report(space_->ProtectReserve(platform::Access::kNone, space_.stopped()));
      return AllowAccess();
    case 57 ... 59:
      return options_.field_logging ? Remember(draw) : absl::OkStatus();
    default:
      return space_->CheckInvariants();
  }
}

absl::Status CopySpaceDriver::AllowAccess() {
  absl::Status status;
  for (int tries = 0; tries < 3; ++tries) {  // enough when every second call fails
    status = space_->ProtectReserve(platform::Access::kReadWrite, space_.stopped());
    Report(status);
    if (status.ok()) break;
  }
  return status;
}

absl::Status CopySpaceDriver::Allocate(BumpAllocator& allocator, Draw draw) {
  const uint32_t size = draw(16) == 0 ? 8 * (2 + draw(5000)) : 8 * (2 + draw(700));
  absl::StatusOr<uintptr_t> memory = TakeMemory(allocator, AcquirePurpose::kMutator, size);
  if (!memory.ok()) return memory.status();
  if (*memory == 0) {
    if (!space_->last_failure().ok()) Report(space_->last_failure());
    return absl::OkStatus();
  }
  const Object object = {*memory + 8, size, next_identity_++};
  ForwardingWord::Of(object.reference).Initialize(size);
  for (size_t i = 1; i < size / 8; ++i) Words(*memory)[i] = Stamp(object.identity, i);
  if (live_.size() == kMaxLive) live_.erase(live_.begin() + draw(kMaxLive));
  live_.push_back(object);
  return absl::OkStatus();
}

absl::StatusOr<uintptr_t> CopySpaceDriver::TakeMemory(BumpAllocator& allocator,
                                                      AcquirePurpose purpose, uint32_t size) {
  uintptr_t memory = allocator.TryAllocate(size);
  if (memory == 0) {
    if (!allocator.Refill(*space_, purpose, size)) return 0;
    memory = allocator.TryAllocate(size);
  }
  if (absl::Status status = CheckMemory(allocator, memory, size); !status.ok()) return status;
  regions_[RegionBegin(memory)] += size;
  return memory;
}

absl::Status CopySpaceDriver::CheckMemory(const BumpAllocator& allocator, uintptr_t memory,
                                          uint32_t size) {
  if (memory == 0) return Wrong("no room after a refill", memory);
  if (!space_->Contains(memory) || !space_->Contains(memory + size - 1)) {
    return Wrong("outside of the space", memory);
  }
  if (space_->InReserve(memory) || space_->InFromSpace(memory + 8)) {
    return Wrong("in the reserve or in from-space", memory);
  }
  if (retained_blocks_.contains(&Block::Of(memory))) return Wrong("in a retained block", memory);
  // Objects lie back to back, and the model knows how far.
  const auto region = regions_.find(RegionBegin(memory));
  const uint32_t used = region == regions_.end() ? 0 : region->second;
  if (memory != RegionBegin(memory) + used) return Wrong("not right behind the last one", memory);
  for (size_t i = 0; i < size / 8; ++i) {
    if (allocator.known_zero() && Words(memory)[i] != 0) {
      return Wrong("known to be zero, but is not", memory);
    }
    if (used == 0 && options_.field_logging && IsRemembered(memory + i * 8)) {
      return Wrong("remembered before first use", memory);
    }
  }
  return absl::OkStatus();
}

void CopySpaceDriver::Drop(Draw draw) {
  for (uint32_t left = live_.empty() ? 0 : draw(static_cast<uint32_t>(live_.size())) + 1; left > 0;
       --left) {
    live_[draw(static_cast<uint32_t>(live_.size()))] = live_.back();
    live_.pop_back();
  }
}

absl::Status CopySpaceDriver::Collect(Draw draw) {
  CloseAll();
  std::map<uintptr_t, uint32_t> from_space;
  from_space.swap(regions_);
  space_->Flip(space_.stopped());
  ++collections_;
  // A block whose retained objects are in the reserve now may be evacuated to.
  retained_blocks_.clear();
  for (const auto& [region, used] : from_space) {
    if (!space_->InReserve(region)) retained_blocks_.insert(&Block::Of(region));
  }
  for (Object& object : live_) {
    if (absl::Status status = Evacuate(object, draw); !status.ok()) return status;
    if (draw(64) == 0) {
      space_->AdvancePageOutAges();
      Report(space_->DiscardOldest());
    }
    if (draw(128) == 0) Report(space_->Shrink(kBlockSize * draw(3)));
  }
  if (draw(2) == 0) CloseAll();
  if (absl::Status status = space_->CheckInvariants(); !status.ok()) return status;
  // From-space is gone, but for where an evacuation failed. Allocators may be open.
  const bool concurrently = draw(2) == 0;
  if (space_->CanFinishConcurrently() != (failed_regions_.empty() && !space_->has_retained())) {
    return absl::InternalError("other failures than in the model");
  }
  if (concurrently && space_->CanFinishConcurrently()) {
    ++concurrent_finishes_;
    space_->FinishCycleConcurrently();
  } else {
    space_->FinishCycle(space_.stopped());
  }
  retained_blocks_.clear();
  for (const uintptr_t region : failed_regions_) {
    regions_[region] = from_space.at(region);
    retained_blocks_.insert(&Block::Of(region));
  }
  failed_regions_.clear();
  return Verify();
}

absl::Status CopySpaceDriver::Evacuate(Object& object, Draw draw) {
  if (!space_->InFromSpace(object.reference)) {
    return Wrong("survived a flip outside of from-space", object.reference);
  }
  ForwardingWord& word = ForwardingWord::Of(object.reference);
  ForwardingWord::Snapshot seen = word.Load();
  if (!seen.claimable_in(space_->cycle_parity()) || !word.TryClaim(seen)) {
    return Wrong("cannot be claimed", object.reference);
  }
  absl::StatusOr<uintptr_t> memory = 0;
  if (draw(100) != 0) {
    memory = TakeMemory(allocators_[draw(allocators_.size())], AcquirePurpose::kEvacuation,
                        object.size);
  }
  if (!memory.ok()) return memory.status();
  if (*memory == 0) {
    ++retained_objects_;
    failed_regions_.insert(RegionBegin(object.reference));
    space_->RetainRegionOf(object.reference);
    word.Retain(seen.type(), space_->cycle_parity());
    return absl::OkStatus();
  }
  std::memcpy(Words(*memory) + 1, Words(object.reference), object.size - 8);
  ForwardingWord::Of(*memory + 8).Initialize(seen.type());
  word.Commit(*memory + 8);
  object.reference = *memory + 8;
  if (!space_->IsSurvivor(object.reference)) return Wrong("no survivor", object.reference);
  return absl::OkStatus();
}

absl::Status CopySpaceDriver::CheckObject(const Object& object) const {
  if (ForwardingWord::Of(object.reference).TypeBits() != object.size) {
    return Wrong("lost its header", object.reference);
  }
  for (size_t i = 1; i < object.size / 8; ++i) {
    if (Words(object.reference - 8)[i] != Stamp(object.identity, i)) {
      return Wrong("lost its contents", object.reference);
    }
  }
  return absl::OkStatus();
}

absl::Status CopySpaceDriver::Remember(Draw draw) {
  if (live_.empty()) return absl::OkStatus();
  const Object& object = live_[draw(static_cast<uint32_t>(live_.size()))];
  const uintptr_t edge = object.reference + 8 * draw(object.size / 8 - 1);
  const bool before = IsRemembered(edge);
  if (copyspace::Remember(edge) == before || !IsRemembered(edge)) {
    return Wrong("remembered wrongly", edge);
  }
  if (draw(2) == 0) {
    Forget(edge);
    if (IsRemembered(edge)) return Wrong("not forgotten", edge);
  }
  return absl::OkStatus();
}

absl::Status CopySpaceDriver::Verify() {
  CloseAll();
  if (absl::Status status = space_->CheckInvariants(); !status.ok()) return status;
  for (const Object& object : live_) {
    if (absl::Status status = CheckObject(object); !status.ok()) return status;
  }
  int64_t bytes = 0;
  for (const auto& [region, used] : regions_) {
    bytes += used;
    if (Block::Of(region).used(RegionIndex(region)) != used) {
      return Wrong("the region's used bytes differ from the model's", region);
    }
  }
  if (space_->allocated_bytes() != Bytes(bytes)) {
    return absl::InternalError(absl::StrFormat("%v allocated, but %v in the model",
                                               space_->allocated_bytes(), Bytes(bytes)));
  }
  if (space_->counts().retained != static_cast<int64_t>(retained_blocks_.size())) {
    return absl::InternalError("other retained blocks than in the model");
  }
  if (space_->debited() != space_.ledger().used()) {
    return absl::InternalError("the ledger and the space differ");
  }
  const Bytes most = space_.ledger().limit() + options_.hard_limit_slack;
  if (space_.ledger().peak() > most) return absl::InternalError("beyond the hard limit");
  return absl::OkStatus();
}

void CopySpaceDriver::Report(const absl::Status& status) {
  if (status.ok()) return;
  CHECK(!status.message().empty());
  ++reported_errors_;
}

void CopySpaceDriver::CloseAll() {
  for (BumpAllocator& allocator : allocators_) allocator.Close(*space_);
}

}  // namespace ebb::copyspace
