// Options: everything that a user can set on a heap, with Parse and the environment variable
// EBB_OPTIONS setting the same names. Design: docs/design/heap.md#options

#ifndef EBB_HEAP_OPTIONS_H_
#define EBB_HEAP_OPTIONS_H_

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "platform/system.h"

namespace ebb {

// How a cycle is run.
enum class Collector {
  kConcurrent,  // beside the program, which stops for the flip: pauses do not grow with the heap
  kParallel,    // inside one pause, by all workers
  // As kConcurrent, and what is new is collected more often than the rest, in short pauses of its
  // own: the most throughput where most objects die young.
  kGenerational,
};

// Whether whole cycles run beside the program.
constexpr bool IsConcurrent(Collector collector) { return collector != Collector::kParallel; }

// How large a heap is, between min_bytes and the hard maximum.
enum class Sizing {
  kFixed,     // as large as it may be: the fewest cycles
  kGrowable,  // `growth` times what lives
  kAdaptive,  // as large as it is worth: see `processors_per_gib`
};

// Whether transparent huge pages (2 MiB) back a heap: fewer TLB misses, for memory that is given
// back less exactly. What a heap asks for has an effect unless the machine's setting is `never`.
enum class HugePages {
  // Nowhere in the heap, whatever the machine's setting. What is given back stays away.
  kNever,
  // Where objects move, in each 64 MiB slab as long as nothing smaller than 2 MiB of it is given
  // back, and again once it has been taken back. What is given back stays away until something of
  // its 2 MiB is taken again.
  kDense,
  // Everywhere. What is given back in smaller pieces comes back at the next touch of its 2 MiB, or
  // when khugepaged finds it: for heaps that give nothing back.
  kAlways,
};

// What to do when a heap cannot satisfy an allocation even after a cycle.
enum class ExhaustionAction {
  kRetry,  // collect and try again (the handler has dropped something)
  kGrow,   // raise max_bytes by what is wanted, up to reserve_bytes, and try again
  kFail,   // TryNew returns the Status, New throws HeapExhausted
};

// What the exhaustion handler is told. All amounts are in bytes.
struct Exhaustion {
  int64_t requested = 0;   // by the allocation that failed
  int64_t live = 0;        // found live by the last cycle
  int64_t heap_bytes = 0;  // in use now, both halves of the copy space counted
  int64_t max_bytes = 0;
  int attempt = 0;  // 0 at the first call for this allocation
};

// Ways to make rare events common, in release builds too.
struct StressOptions {
  // 0: off. N: a cycle at about every Nth allocation of a mutator (1: at every one); the
  // distances are drawn from `seed`, which is logged when the heap is made.
  int64_t collect_every = 0;
  int64_t seed = 1;
  // 0: off. N: every Nth evacuation finds no memory; in minor cycles every (16 N)th.
  int64_t fail_evacuation = 0;
  // 0: the default. Else: how many entries each of a worker's worklists can hold.
  int64_t worklist_capacity = 0;
  // Access to what a cycle has left behind traps until the next cycle.
  bool protect_from_space = false;
  // What a cycle has left behind is overwritten (and poisoned under AddressSanitizer).
  bool poison = false;
  // Heap::Verify before and after each cycle, inside its pause (after a concurrent one, in
  // another); a fault stops the program.
  bool verify = false;
};

struct Options {
  // The hard maximum of the heap: both halves of the copy space, large and pinned objects, and the
  // collector's own tables. 0: a quarter of the memory this process may use (cgroups included),
  // at most reserve_bytes if that is set.
  int64_t max_bytes = 0;
  // A bound for Heap::SetMaxBytes. Address space is reserved for it when the heap is made: up to
  // nine times as much, since any of the heap's spaces may come to hold all of it. 0: four times
  // max_bytes.
  int64_t reserve_bytes = 0;
  // The heap also stays within this share of the memory that this process may use (the tightest of
  // its cgroups' memory.max and memory.high, or the machine's), which is looked up again while it
  // runs, less what its objects hold outside of it (Heap::ReportExternal). 0: whatever max_bytes
  // says.
  double memory_limit_share = 0.9;
  // While the kernel reports that tasks wait for memory (PSI), the heap gives up most of its room
  // beyond what lives, little by little. Noticed by the background thread (page_out).
  bool yield_to_pressure = true;
  // How large the heap is within these bounds. A limit that only the policy has set makes no
  // allocation fail: it is raised.
  Sizing sizing = Sizing::kFixed;
  // For the policies that are not fixed: where the limit begins, and how low it may fall.
  // 0: 16 MiB, or max_bytes if that is less.
  int64_t min_bytes = 0;
  // kGrowable: the limit as a multiple of what lives. A copying heap needs 2 to move it.
  double growth = 3;
  // kAdaptive: a GiB more is worth it where it spares the work of so many processors. The less, the
  // larger the heap and the fewer the cycles.
  double processors_per_gib = 2;
  Collector collector = Collector::kConcurrent;
  // kGenerational: the memory of the nursery, where objects begin, both halves; part of max_bytes.
  // 0: an eighth of max_bytes (of min_bytes, if sizing is not kFixed), at least 384 KiB and at most
  // 16 MiB. Rounded up to whole blocks of 128 KiB.
  int64_t nursery_bytes = 0;
  // kGenerational: how long a minor cycle's pause should be. As much of the nursery is used between
  // two of them as allows for that.
  absl::Duration minor_pause_target = absl::Milliseconds(1);
  // kGenerational: whether the nursery is done without, and tried again from time to time, while so
  // much survives in it that collecting it is not worth its while.
  bool nursery_bypass = true;
  // Threads that work on a cycle, the one that runs it included. The others are shared by the heaps
  // of the process: where two collect at the same time, one may find fewer, or none.
  // 0: as many as there are processors, at most 8, and at most one for each 4 MiB of max_bytes.
  int workers = 0;
  // Of these, how many work beside the program in a concurrent cycle; more than `workers`: all.
  // 0: a quarter of the processors, at least one, at most `workers`.
  int concurrent_workers = 0;
  // How much the thread that runs concurrent cycles gives way to other threads, from 0 (not at all)
  // to 19 (see nice(2)); workers that it starts inherit that, and help only heaps of the same
  // niceness. (Those that another thread starts, in a pause, inherit its own.) When processors are
  // short, a nicer collector leaves more of its work to the threads that allocate, and its pauses
  // may last longer.
  int collector_niceness = 0;
  // Objects above this size (header included) are not moved but marked in place.
  int64_t large_object_bytes = 8 << 10;

  // Whether a background thread gives empty blocks back to the system after they have aged.
  bool page_out = true;
  absl::Duration page_out_tick = absl::Seconds(1);
  platform::ReleaseBackend release_backend = platform::ReleaseBackend::kAuto;
  // Where the kernel refuses the advice that this takes, the heap does without, and logs it.
  HugePages huge_pages = HugePages::kNever;
  // A bit for each word of the heap, by which stores can be logged: for rc::Stores::kCoalesced.
  // Costs 1/64 of the memory. Generational heaps have it anyway.
  bool field_logging = false;

  // Called on the thread that allocates, without locks, at most kMostExhaustionCalls times for one
  // allocation. Unset: fail. It may drop roots; allocations, collections and new
  // Mutators by it are refused.
  std::function<ExhaustionAction(const Exhaustion&)> on_exhaustion = nullptr;
  static constexpr int kMostExhaustionCalls = 8;

  // A thread that takes longer than this to reach a safepoint is named in the log; so is an
  // allocation that waits longer for a concurrent cycle.
  absl::Duration safepoint_warning = absl::Seconds(2);

  StressOptions stress = {};

  // Whether Heap::Create lets the environment variable EBB_OPTIONS override these options.
  bool read_environment = true;
  // The operating system; a test may put a fake here. Null: the real one.
  platform::System* system = nullptr;

  // Sets what `text` names on a copy of `base`: "max_bytes=1g,workers=2,stress_collect_every=100".
  // Sizes take k, m, g and t (powers of 1,024); switches take true and false; durations take
  // absl's units. Errors: InvalidArgument naming the option, the value, and what is accepted.
  static absl::StatusOr<Options> Parse(absl::string_view text, const Options& base);
  static absl::StatusOr<Options> Parse(absl::string_view text) { return Parse(text, Options()); }

  // InvalidArgument, naming the option, its value and the accepted range, if a value is out of
  // range or two of them contradict each other.
  absl::Status Validate() const;

  // One line per option: its name, what it accepts and its value here.
  std::string Describe() const;
};

}  // namespace ebb

#endif  // EBB_HEAP_OPTIONS_H_
