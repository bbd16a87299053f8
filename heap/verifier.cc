#include "heap/verifier.h"

#include "absl/strings/str_cat.h"
#include "copyspace/forwarding_word.h"

namespace ebb::internal {

using copyspace::Block;
using copyspace::ForwardingWord;
using copyspace::Reference;

namespace {

// The type in an object's header, or null if the word is none (the object is not a filler).
const TypeInfo* IntactType(Reference object) {
  const ForwardingWord::Snapshot word = ForwardingWord::Of(object).Load();
  if (word.busy() || word.is_forwarded() || word.type() == 0) return nullptr;
  // Most stray words are no address of a TypeInfo, nor one that may be read.
  constexpr int kUserAddressBits = 47;
  if (word.type() % alignof(TypeInfo) != 0 || word.type() >> kUserAddressBits != 0) return nullptr;
  const auto* type = reinterpret_cast<const TypeInfo*>(word.type());
  return type->magic == kTypeInfoMagic ? type : nullptr;
}

}  // namespace

absl::Status Verifier::Check() {
  absl::Status status = spaces_.CheckInvariants();
  if (!status.ok()) return status;
  status = CheckRegions();
  if (remembered_ != nullptr) {
    remembered_->ForEach([this](uintptr_t edge) { logged_.insert(edge); });
  }
  for (size_t i = 0; status.ok() && i < roots_.size(); ++i) {
    status = CheckReference(/*from=*/0, /*edge=*/0, roots_[i]);
  }
  while (status.ok() && !grey_.empty()) {
    const Reference object = grey_.back();
    grey_.pop_back();
    status = Scan(object);
  }
  return status;
}

absl::Status Verifier::CheckRegions() {
  absl::Status status;
  const auto check = [&](const copyspace::CopySpace& space) {
    space.ForEachBlock([&](Block& block) {
      for (int region = 0; region < copyspace::kRegionsPerBlock; ++region) {
        const bool holds_objects = region == space.active_region() || block.retained(region);
        if (status.ok() && holds_objects) status = CheckRegion(block, region);
      }
    });
  };
  check(spaces_.copy());
  if (spaces_.has_generations()) check(spaces_.nursery());
  return status;
}

// inv.remembered. (What has overflowed is known by its bit alone.)
bool Verifier::IsRemembered(uintptr_t edge) const {
  if (!spaces_.IsRemembered(edge)) return false;
  return remembered_->overflowed() || logged_.contains(edge);
}

absl::Status Verifier::CheckRegion(const Block& block, int region) {
  const uintptr_t begin = block.region_begin(region);
  const uintptr_t end = begin + block.used(region);
  uintptr_t header = begin;
  while (header < end) {
    const Reference object = header + kHeaderBytes;
    const TypeInfo* type = IntactType(object);
    if (type == nullptr) {
      return absl::InternalError(
          absl::StrCat("inv.region-parsable: ", block, ": no header at ", absl::Hex(header)));
    }
    if (type->kind != ObjectKind::kFiller) in_regions_[object] = false;
    const size_t bytes = type->ObjectBytes(object);
    if (bytes == 0 || bytes > end - header) {
      return absl::InternalError(absl::StrCat("inv.region-parsable: ", block, ": the ", type->name,
                                              " at ", absl::Hex(object), " of ", bytes,
                                              " bytes ends outside of what is used"));
    }
    header += bytes;
  }
  return absl::OkStatus();
}

absl::Status Verifier::FaultAt(Reference from, uintptr_t edge, Reference object,
                               absl::string_view fault) const {
  const std::string where = from == 0
                                ? std::string("a root")
                                : absl::StrCat("the field at offset ", edge - from, " of the ",
                                               IntactType(from)->name, " at ", absl::Hex(from));
  return absl::InternalError(absl::StrCat(where, " holds ", absl::Hex(object), ", which ", fault));
}

absl::Status Verifier::CheckReference(Reference from, uintptr_t edge, Reference object) {
  if (object == 0) return absl::OkStatus();
  if (!spaces_.Contains(object)) return FaultAt(from, edge, object, "is not in this heap");
  const bool young = spaces_.InNursery(object);
  if (young && from != 0 && !spaces_.InNursery(from) && !IsRemembered(edge)) {
    return FaultAt(from, edge, object, "is young, and the edge is not remembered (inv.remembered)");
  }
  if (young || spaces_.copy().Contains(object)) {
    auto it = in_regions_.find(object);
    if (it == in_regions_.end()) {
      return FaultAt(from, edge, object,
                     spaces_.copy().InReserve(object) ||
                             (young && spaces_.nursery().InReserve(object))
                         ? "is in from-space (inv.tospace)"
                         : "is not the beginning of an object in the active region");
    }
    if (!it->second) grey_.push_back(object);
    it->second = true;
    return absl::OkStatus();
  }
  const bool known = spaces_.pinned().Contains(object) ? spaces_.pinned().IsObject(object)
                                                       : spaces_.large().IsObject(object);
  if (!known || IntactType(object) == nullptr) {
    return FaultAt(from, edge, object, "is not a pinned or large object");
  }
  if (in_place_.emplace(object, true).second) grey_.push_back(object);
  return absl::OkStatus();
}

absl::Status Verifier::Scan(Reference object) {
  const TypeInfo& type = *IntactType(object);
  const bool array = type.kind == ObjectKind::kArray;
  const uint64_t count = array ? TypeInfo::ArrayLength(object) : 1;
  const uintptr_t first = array ? type.ArrayElements(object) : object;
  absl::Status status;
  for (uint64_t i = 0; type.has_references() && i < count && status.ok(); ++i) {
    ForEachReference(type, first + i * type.element_bytes, [&](uintptr_t edge) {
      if (!status.ok()) return;
      status = CheckReference(object, edge, *reinterpret_cast<const Reference*>(edge));
    });
  }
  return status;
}

}  // namespace ebb::internal
