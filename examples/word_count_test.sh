#!/bin/bash
# word_count counts, whenever the heap collects; and says clearly what is wrong.
set -euo pipefail
count=examples/word_count
expect() { [[ $2 == "$1" ]] || { printf 'wanted:\n%s\ngot:\n%s\n' "$1" "$2"; exit 1; }; }
has() { [[ $2 == *$1* ]] || { printf 'not in the message: %s\n%s\n' "$1" "$2"; exit 1; }; }

text='the tide turns and the tide ebbs'
sorted=$'2 the\n2 tide\n1 and\n1 ebbs\n1 turns'
expect "$sorted" "$($count <<<"$text")"
expect "$sorted" "$($count stress_collect_every=1,workers=1 <<<"$text")"
expect "$sorted" "$(EBB_OPTIONS=stress_collect_every=2 $count max_bytes=64m <<<"$text")"
expect "" "$($count </dev/null)"

# 100,000 different words, three times over, in a heap with little more room than they need.
numbers() { for _ in 1 2 3; do seq 1 100000; done; }
expect 100000 "$(numbers | $count max_bytes=16m | grep -c '^3 ')"

# Errors, not aborts: no such option, a value out of range, a heap too small for its input.
if message=$($count max_byte=1g </dev/null 2>&1); then echo "accepted"; exit 1; fi
has max_byte "$message"
if message=$($count workers=-1 </dev/null 2>&1); then echo "accepted"; exit 1; fi
has workers "$message"
status=0
message=$(seq 1 1000000 | $count max_bytes=2m 2>&1 >/dev/null) || status=$?
expect 1 "$status"
has max_bytes "$message"
