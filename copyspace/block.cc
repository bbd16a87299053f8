#include "copyspace/block.h"

namespace ebb::copyspace {

absl::string_view BlockListName(BlockList list) {
  switch (list) {
    case BlockList::kOpen:
      return "open";
    case BlockList::kEmpty:
      return "empty";
    case BlockList::kPartlyFull:
      return "partly full";
    case BlockList::kFull:
      return "full";
    case BlockList::kRetained:
      return "retained";
    case BlockList::kCondemned:
      return "condemned";
    case BlockList::kDiscarding:
      return "discarding";
    case BlockList::kPagedOut:
      return "paged out";
  }
  return "none";
}

}  // namespace ebb::copyspace
