#!/bin/bash
# Compiles each case of a folder and looks at what the compiler says.
#
# A case with lines `// EXPECT-ERROR: text` must be rejected with exactly one error for each of them,
# with that text in it and nothing else: what a user reads is the mistake and its remedy. A case
# without must compile. Usage: compile_fail.sh COMPILER FOLDER HEADER..., the headers being those
# that every case includes.
set -uo pipefail
compiler=$1
here=$2
shift 2
failed=0 checked=0 rejected=0

common=${TEST_TMPDIR:-$(mktemp -d)}/common.h
printf '#include "%s"\n' "$@" > "$common"
flags=(-std=c++20 -fdiagnostics-color=never -DNDEBUG -I. -I../com_google_absl)
"$compiler" "${flags[@]}" -x c++-header "$common" -o "$common.gch" || exit 1

fail() {
  echo "FAILED: $1: $2"
  echo "$output" | head -n 40
  failed=$((failed + 1))
}

check() {
  local source=$1 status expected errors
  output=$("$compiler" "${flags[@]}" -fsyntax-only -include "$common" "$source" 2>&1)
  status=$?
  mapfile -t expected < <(sed -n 's,^// EXPECT-ERROR: ,,p' "$source")
  errors=$(grep -c ' error: ' <<< "$output")
  if ((${#expected[@]} == 0)); then
    ((status == 0)) || fail "$source" "must compile"
    return
  fi
  rejected=$((rejected + 1))
  ((status != 0)) || { fail "$source" "must not compile"; return; }
  ((errors == ${#expected[@]})) || fail "$source" "$errors errors, not ${#expected[@]}"
  local text
  for text in "${expected[@]}"; do
    grep ' error: ' <<< "$output" | grep -qF -- "$text" || fail "$source" "no error says: $text"
  done
}

for source in "$here"/*.cc; do
  check "$source"
  checked=$((checked + 1))
done
echo "$compiler: $checked cases, $failed failures"
# Cases of both kinds: what must compile shows that the headers do.
((rejected > 0 && checked > rejected && failed == 0))
