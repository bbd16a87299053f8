#!/bin/bash
# counting destroys each part once, at once, whenever the heap collects.
set -euo pipefail
expected='first chapter of book
2 references
2 chapters, still 2 references
a part goes
its book has gone
a part goes
a part goes
told that a chapter has gone
2 found in a cycle
3 of 3 destroyed
a draft was kept
an entry goes
1 found in a cycle through a traced object
11 characters in 12 bytes'
for options in "" stress_collect_every=1 collector=generational,nursery_bypass=false; do
  got=$(EBB_OPTIONS=$options examples/counting 2>log) || { cat log; exit 1; }
  [[ $got == "$expected" ]] || { printf 'with "%s":\n%s\n' "$options" "$got"; exit 1; }
done
