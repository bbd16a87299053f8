// The whole public interface of Ebb: include this, depend on @ebb//heap:ebb.

#ifndef EBB_HEAP_EBB_H_
#define EBB_HEAP_EBB_H_

#include "heap/array.h"
#include "heap/extra_bytes.h"
#include "heap/field.h"
#include "heap/heap.h"
#include "heap/histogram.h"
#include "heap/local.h"
#include "heap/mutator.h"
#include "heap/options.h"
#include "heap/persistent.h"
#include "heap/ref.h"
#include "heap/type_info.h"
#include "heap/weak.h"

#endif  // EBB_HEAP_EBB_H_
