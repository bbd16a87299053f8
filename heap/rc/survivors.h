// What is still there of a domain that goes, for its report.

#ifndef EBB_HEAP_RC_SURVIVORS_H_
#define EBB_HEAP_RC_SURVIVORS_H_

#include <string>

#include "heap/heap.h"
#include "heap/rc/cell_table.h"

namespace ebb::rc::internal {

// "7 Link, 5 Node, and 9 of 2 more types": how many objects there are of which type, the most
// frequent first. By who alone uses the domain of `table`. Attaches the thread to the heap, unless
// it has a Mutator; safepoints, where these may be. Empty if there are none; or says why it cannot
// say more: no memory, or the thread may not attach. O(cells).
std::string DescribeSurvivors(Heap& heap, CellTable& table);

}  // namespace ebb::rc::internal

#endif  // EBB_HEAP_RC_SURVIVORS_H_
