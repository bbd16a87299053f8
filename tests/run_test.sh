#!/bin/bash
# tests/run counts what Bazel reports, whatever happens to Bazel: here a stand-in plays Bazel.
set -uo pipefail
# Bazel's runfiles are links into the checkout.
checkout=$(dirname "$(dirname "$(readlink -f "$0")")")
root=$TEST_TMPDIR/root
mkdir -p "$root"/{bin,tests,tools,bench,.ci,examples/embed}
cp "$checkout"/tests/{run,test_results.py} "$root/tests/"
cp "$checkout/.ci/run" "$root/.ci/"
printf '#!/bin/sh\nexit ${SETUP_CODE:-0}\n' >"$root/tools/setup.sh"
printf '#!/bin/sh\necho "bench $*"; exit ${BENCH_CODE:-0}\n' >"$root/bench/run"
echo 42 >"$root/examples/embed/expected_output.txt"
# `bazel test` writes $EVENTS as its build events and ends with $CODE; its arguments go to a log.
cat >"$root/bin/bazel" <<'END'
#!/bin/bash
echo "$*" >>"$LOG"
case $1 in
  query) printf '%s' "${QUERY-}" ;;
  run) echo "${OUTPUT-42}" ;;
  test)
    for a in "$@"; do
      [[ $a == --build_event_json_file=* && -n ${EVENTS-} ]] && printf '%b' "$EVENTS" >"${a#*=}"
    done
    exit "${CODE:-0}" ;;
esac
END
chmod +x "$root"/{bin/bazel,tools/setup.sh,bench/run}
export PATH=$root/bin:$PATH LOG=$TEST_TMPDIR/log

event() {
  printf '{"id":{"testSummary":{"label":"%s"}},"testSummary":{"overallStatus":"%s"}}\\n' "$1" "$2"
}
unbuilt='{"id":{"targetConfigured":{"label":"//a:d"}},"configured":{"testSize":"SMALL"}}\n'
good=$(event //a:a PASSED)$(event //a:b PASSED)
bad=$(event //a:a PASSED)$(event //a:b FAILED)$(event //a:c TIMEOUT)$unbuilt

errors=0
fail() { echo "FAILED: $1"; sed 's/^/    /' "$TEST_TMPDIR/out"; errors=$((errors + 1)); }

# expect CODE LAST_LINE COMMAND...: the exit code, and the last line of standard output.
expect() {
  local code=0 want_code=$1 want_line=$2; shift 2
  : >"$LOG"
  "$@" >"$TEST_TMPDIR/out" 2>&1 || code=$?
  [[ $code == "$want_code" ]] || fail "'$*' ended with $code, not $want_code"
  [[ $(tail -n 1 "$TEST_TMPDIR/out") == "$want_line" ]] || fail "'$*' did not end with '$want_line'"
}
said() { grep -q -- "$1" "$TEST_TMPDIR/out" || fail "output does not have '$1'"; }
asked() { grep -q -- "$1" "$LOG" || { cat "$LOG"; fail "bazel was not asked for '$1'"; }; }
run() { env "${@:1:$#-1}" bash -c "$root/tests/run ${!#}" </dev/null; }

expect 0 "2 passed, 0 failed" run EVENTS="$good" "--config=plain"
asked 'test --keep_going .* -- //\.\.\.'
expect 0 "2 passed, 0 failed" run EVENTS="$good" "--config=tsan //heap/..."
asked 'test .*--config=tsan .* -- //heap/\.\.\.'
# All four configurations, the one without barriers, and the example workspace as one test more.
expect 0 "11 passed, 0 failed" run EVENTS="$good" ""
for config in opt asan tsan gcc no_barrier; do asked "--config=$config"; done
expect 1 "10 passed, 1 failed" run EVENTS="$good" OUTPUT=43 ""
# Whatever is not PASSED has failed, and is named.
expect 1 "1 passed, 3 failed" run EVENTS="$bad" CODE=3 "--config=plain"
said 'plain: //a:c TIMEOUT'
said 'plain: //a:d NOT_RUN'
# Bazel fails though no test does; Bazel dies in the middle of an event, and before the first.
expect 1 "2 passed, 1 failed" run EVENTS="$good" CODE=1 "--config=plain"
expect 1 "2 passed, 1 failed" run EVENTS="$good{\"id" CODE=37 "--config=plain"
expect 1 "0 passed, 1 failed" run CODE=2 "--config=plain"
# Nothing ran at all: that is no success, even of the set-up.
expect 1 "0 passed, 1 failed" run CODE=4 "--config=plain //empty/..."
expect 1 "0 passed, 1 failed" run SETUP_CODE=1 ""
# The soak: shared out over test cases and configurations, never from the cache.
expect 0 "4 passed, 0 failed" run EVENTS="$good" QUERY=$'//a:a\n//a:b\n' "--soak 400"
asked '--nocache_test_results .*--test_env=EBB_SOAK=100 .*-- //a:a //a:b'
mkdir "$root/a"
printf 'TEST(A, B) {\n}\nTEST_F(A, C) {\n}\n' >"$root/a/b.cc"
expect 0 "2 passed, 0 failed" run EVENTS="$good" QUERY=$'//a:a\n//a:b\n' \
  "--config=tsan --soak=400"
asked '--config=tsan .*--test_env=EBB_SOAK=133 '
expect 1 "0 passed, 1 failed" run "--soak"
# Without HOME and USER.
expect 0 "2 passed, 0 failed" run -u HOME -u USER EVENTS="$good" "--config=plain"
# Mistakes in the command line.
for mistake in --bogus --config=msan "--soak 12x" "heap" "--config"; do
  run "$mistake" >"$TEST_TMPDIR/out" 2>&1
  [[ $? == 2 ]] || fail "'$mistake' did not end with 2"
  said 'tests/run: '
done
run --help >"$TEST_TMPDIR/out" 2>&1 || fail "--help failed"
said 'usage: tests/run'

# .ci/run: the same last line; a benchmark that fails is a failure more.
expect 0 "11 passed, 0 failed" env EVENTS="$good" bash "$root/.ci/run"
said 'bench --all --smoke'
expect 1 "11 passed, 1 failed" env EVENTS="$good" BENCH_CODE=1 bash "$root/.ci/run"

((errors == 0)) && echo "all as expected"
exit $((errors > 0))
