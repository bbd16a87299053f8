// PauseHook: what is called in each pause of a heap, before anything else is done in it.

#ifndef EBB_HEAP_PAUSE_HOOK_H_
#define EBB_HEAP_PAUSE_HOOK_H_

namespace ebb::internal {

// Registered by Heap::AddPauseHook.
class PauseHook {
 public:
  // By the thread that has the pause, under a lock of the heap's. Must not stop, nor register or
  // remove hooks.
  virtual void AtPause() = 0;

 protected:
  ~PauseHook() = default;
};

}  // namespace ebb::internal

#endif  // EBB_HEAP_PAUSE_HOOK_H_
