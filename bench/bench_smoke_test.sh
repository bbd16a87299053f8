#!/bin/bash
# Runs workloads at their smallest and checks the lines; then what the command line refuses.
#   bench_smoke_test.sh --all    every workload; else one of each kind
set -uo pipefail
bench=$TEST_SRCDIR/$TEST_WORKSPACE/bench/ebb_bench
check=$TEST_SRCDIR/$TEST_WORKSPACE/bench/check_lines.py
least_heap=$TEST_SRCDIR/$TEST_WORKSPACE/bench/least_heap.py
equal_memory=$TEST_SRCDIR/$TEST_WORKSPACE/bench/equal_memory.py
cd "$TEST_TMPDIR" || exit 1
failures=0
fail() { echo "FAILED: $*"; failures=$((failures + 1)); }

# Without optimisation, or with a sanitizer, the harness is what is tested; the tests of the heap
# have the rest. The main job, below, is W1.
workloads=(W3 W4 W6b W8 W10 pause drop)
jvm_workloads=(W4)
if [[ ${1-} == --all ]]; then
  workloads=(W1 W1h W3 W4 W5a W5b W5c W5d W5e W5f W5g W6a W6b W7 W8 W10 pause drop idle)
  jvm_workloads=(W4 W7)
fi
# (With a peer or two that a smoke run would otherwise leave out; those not installed are skipped.)
"$bench" "${workloads[@]}" --smoke --peers boehm,mimalloc,jemalloc-shared --json lines.json \
  >table.txt 2>errors.txt || fail "${workloads[*]} --smoke: exit $?"
cat table.txt errors.txt
[[ -s errors.txt ]] && fail "${workloads[*]} --smoke wrote to standard error"
/usr/bin/python3 "$check" lines.json "${workloads[@]}" || fail "lines.json"
for workload in "${workloads[@]}"; do
  grep -q "^$workload: " table.txt || fail "$workload is not in the table"
done

# The JVMs, once each: the checksums say whether they ran the same program.
"$bench" "${jvm_workloads[@]}" --live 64m --smoke --collector concurrent --peers zgc,shenandoah,g1 \
  --json jvm.json >jvm.txt 2>&1 || fail "JVMs: exit $?"
cat jvm.txt
/usr/bin/python3 "$check" jvm.json "${jvm_workloads[@]}" || fail "jvm.json"
for peer in zgc shenandoah g1; do
  if grep -q "^skipped: peer $peer: " jvm.txt; then continue; fi   # shown above
  results=$(grep -c "\"kind\":\"result\".*\"subject\":\"$peer\".*\"pause_ns\"" jvm.json)
  [[ $results == "${#jvm_workloads[@]}" ]] ||
    fail "$peer: not ${#jvm_workloads[@]} results with pauses: $(cat jvm.json)"
done

# The main job is W1 on two mutators, alone.
"$bench" --smoke --json main.json >main.txt 2>&1 || fail "main job: exit $?"
/usr/bin/python3 "$check" main.json W1 || fail "main.json"
[[ $(wc -l <main.json) == 1 ]] || fail "main job: not one line: $(cat main.json)"
grep -q '"threads":2' main.json || fail "main job: not two mutators: $(cat main.json)"

# Policies for the heap's size: their average sizes, and what their collections cost.
"$bench" W1 --smoke --threads 1 --heap 6 --peers none --sizing growable,adaptive:0.5 \
  --json sizing.json >sizing.txt 2>&1 || fail "sizings: exit $?"
/usr/bin/python3 "$check" sizing.json W1 || fail "sizing.json"
grep -q '"subject":"ebb/concurrent/adaptive:0.5".*"peer":"ebb/concurrent/growable"' sizing.json ||
  fail "sizings are not compared: $(cat sizing.json)"

# Ways to give pages back.
"$bench" W10 --smoke --peers none --collector concurrent --backend madvise,process_madvise \
  --json backends.json >backends.txt 2>&1 || fail "backends: exit $?"
/usr/bin/python3 "$check" backends.json W10 || fail "backends.json"
grep -q '"of":"fault_ns.max".*"subject":"ebb/concurrent/adaptive/process_madvise"' backends.json ||
  fail "backends are not compared: $(cat backends.json)"

# Where growable takes 4 s in 100 MiB and 1 s in 400 MiB, it takes 2 s in 200 MiB.
sized() {
  printf '{"kind":"result","workload":"W1","collector":"concurrent","threads":1,"seed":1,'
  printf '"sizing":"%s","average_heap_bytes":%d,"collection_cpu_s":%s}\n' "$1" $(($2 << 20)) "$3"
}
{ sized growable:2 100 4; sized growable:6 400 1; sized adaptive 200 1.5; sized fixed 500 1; } \
  >sized.json
/usr/bin/python3 "$equal_memory" sized.json >equal.txt || fail "equal_memory.py: exit $?"
grep -q "adaptive: 200 MiB, 1.500 s; growable: 2.000 s; ratio 0.750" equal.txt ||
  fail "equal memory: $(cat equal.txt)"
grep -q "fixed: 500 MiB, 1.000 s; no growable run on both sides" equal.txt ||
  fail "equal memory, beyond all runs: $(cat equal.txt)"
/usr/bin/python3 "$equal_memory" sizing.json || fail "equal_memory.py: exit $?"

# refused NAME... ACCEPTED: exit 2, and the message names what would have been accepted.
refused() {
  local accepted=${*: -1} status=0
  "$bench" "${@:1:$#-1}" >refused.txt 2>&1 || status=$?
  [[ $status == 2 ]] || fail "${*:1:$#-1}: exit $status instead of 2"
  grep -qF -- "$accepted" refused.txt || fail "${*:1:$#-1}: no '$accepted' in: $(cat refused.txt)"
}
refused W99 "accepted: W1, W1h, W3, W4, W5a"
refused --nonsense "accepted: --all"
refused W1 --peers boehm,nobody "accepted: boehm,"
refused W1 --collector nonsense "accepted: parallel"
refused W1 --sizing nonsense "growable"
refused W1 --rounds 0 "--rounds: bad value '0' (accepted: numbers from 1"
refused W1 --rounds "--rounds needs a value"
refused W1 --threads 1,x "--threads: bad value 'x'"
refused W7 --live 64m,1x "--live: bad value '1x'"
refused W1 --heap 0.5 "--heap: bad value '0.5'"
refused W1 --check --smoke "exclude each other"
refused W1 --json /nonexistent/file "cannot write to '/nonexistent/file'"

# A run that fails is reported, and is a failure of the whole.
"$bench" --one workload=W1,subject=nobody,heap=3 >failed.txt 2>&1 && fail "an unknown subject ran"
grep -q "nobody" failed.txt || fail "an unknown subject is not named: $(cat failed.txt)"

# A heap that is too small is told apart, and the least that is not is found.
"$bench" --one workload=W1,subject=ebb,collector=parallel,heap=1,smoke=1 >small.txt 2>&1
[[ $? == 3 ]] || fail "out of memory is not exit status 3: $(cat small.txt)"
/usr/bin/python3 "$least_heap" "$bench" --smoke --within 0.5 --subjects parallel,generational \
  >least.txt || fail "least_heap.py: exit $?"
cat least.txt
grep -Eq "^parallel +[1-7]\.[0-9]+ +[1-9]" least.txt || fail "no least heap of parallel"
/usr/bin/python3 "$least_heap" "$bench" --smoke --to 1.01 --subjects parallel >least.txt &&
  fail "a heap that is too small was enough: $(cat least.txt)"
grep -q "does not complete in 1.01x" least.txt || fail "not told so: $(cat least.txt)"

((failures == 0)) && echo "bench_smoke_test passed"
exit $((failures != 0))
