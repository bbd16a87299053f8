// The whole public interface of the reference-counting front end: include this, depend on
// @ebb//heap/rc.

#ifndef EBB_HEAP_RC_RC_H_
#define EBB_HEAP_RC_RC_H_

#include "heap/rc/any_ptr.h"
#include "heap/rc/atomic_ptr.h"
#include "heap/rc/domain.h"
#include "heap/rc/holder.h"
#include "heap/rc/local.h"
#include "heap/rc/owner.h"
#include "heap/rc/ptr.h"
#include "heap/rc/sized_ptr.h"
#include "heap/rc/weak.h"
#include "heap/rc/weak_callback.h"

#endif  // EBB_HEAP_RC_RC_H_
