#!/bin/bash
# W3 in a control group with a limit of 256 MiB. The heap may have more by its own options, so that
# it must find the limit by itself: what fits into it is served; 400 MiB of live objects end with a
# Status, not with a kill.
#   memory_limit_test.sh LIVE [--skip]    how much fits, e.g. 100m; or a build that needs more
#
# Needs the right to make a control group (v1 or v2): skipped, saying why, where there is none.
set -uo pipefail
bench=$TEST_SRCDIR/$TEST_WORKSPACE/bench/ebb_bench
fits=${1:?how much fits, e.g. 100m}
cd "$TEST_TMPDIR" || exit 1
limit=$((256 << 20))

skip() { echo "skipped: $*"; exit 0; }
[[ ${2-} == --skip ]] && skip "the limit is that of an optimised build (--config=opt)"

# In the root group of the mount, so that the limit of no other group is in the way. $kills names
# the file that counts who was killed for want of memory.
root=/sys/fs/cgroup
if [[ -e $root/memory/memory.limit_in_bytes ]]; then
  group=$root/memory/ebb_memory_limit_test.$$
  limit_file=$group/memory.limit_in_bytes kills=$group/memory.oom_control
elif [[ -e $root/cgroup.controllers ]]; then
  grep -qw memory $root/cgroup.controllers || skip "control groups (v2) without memory"
  grep -qw memory $root/cgroup.subtree_control ||
    skip "memory is not in $root/cgroup.subtree_control, which this test leaves as it is"
  group=$root/ebb_memory_limit_test.$$
  limit_file=$group/memory.max kills=$group/memory.events
else
  skip "no control groups in $root"
fi
mkdir "$group" 2>mkdir.txt || skip "cannot make a control group: $(cat mkdir.txt)"
trap 'rmdir "$group"' EXIT
echo "$limit" 2>limit.txt >"$limit_file" || skip "cannot limit a control group: $(cat limit.txt)"

failures=0
fail() { echo "FAILED: $*"; failures=$((failures + 1)); }

# in_group SPEC: runs it in the group; its output in out.txt, its messages in errors.txt.
in_group() {
  bash -c 'echo $$ >"$0/cgroup.procs" && exec "$1" --one "$2"' "$group" "$bench" "$1" \
    >out.txt 2>errors.txt
}

for collector in parallel concurrent generational; do
  w3="workload=W3,subject=ebb,collector=$collector,heap=3"
  in_group "$w3,live=$fits" || fail "$collector, live $fits: exit $?: $(cat errors.txt)"
  grep -q '"checksum":' out.txt || fail "$collector, live $fits: no result: $(cat out.txt)"
  cat out.txt

  status=0
  in_group "$w3,live=400m" || status=$?
  [[ $status == 3 ]] || fail "$collector, live 400m: exit $status instead of 3 (out of memory)"
  grep -q "RESOURCE_EXHAUSTED.*control group" errors.txt ||
    fail "$collector, live 400m: the message does not name the control group"
  cat errors.txt
done
grep -q "oom_kill [1-9]" "$kills" && fail "something was killed: $(cat "$kills")"

((failures == 0)) && echo "memory_limit_test passed"
exit $((failures != 0))
