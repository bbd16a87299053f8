#!/bin/bash
# Checks a Promela model with Spin:
#
#   spin_check.sh MODEL [-DNAME...] [--must-fail -DNAME...]...
#
# MODEL, with the flags before the first --must-fail, must have no error (assertions, invalid end
# states, acceptance cycles; searched exhaustively). With the flags after each --must-fail, which
# seed a bug, the search must find an error: a model that cannot fail shows nothing.
# Meant as the source of an sh_test; see park_model_check in platform/BUILD.
set -euo pipefail

model=${1:?usage: spin_check.sh MODEL [-DNAME...] [--must-fail -DNAME...]...}; shift
for tool in spin cc; do
  command -v "$tool" >/dev/null || { echo "$tool is not installed: run tools/setup.sh" >&2; exit 1; }
done
model=$(realpath "$model")
work=$(mktemp -d "${TEST_TMPDIR:-/tmp}/spin_check.XXXXXX"); trap 'rm -rf "$work"' EXIT
cd "$work"

# check pass|fail [-DNAME...]
check() {
  local want=$1 errors; shift
  rm -f ./pan* ./*.trail
  # Spin and the compiler must accept the model in either case: a syntax error is not a found bug.
  spin -a "$@" "$model" >spin.log 2>&1 && [[ -f pan.c ]] || { cat spin.log; echo "FAILED: spin rejects $model $*"; exit 1; }
  cc -O1 -w -o pan pan.c
  ./pan -a -n -m1000000 >pan.log 2>&1 || true
  errors=$(sed -nE 's/.* errors: ([0-9]+).*/\1/p' pan.log)
  if [[ $want == pass ]]; then
    if [[ $errors != 0 ]] || grep -Eq 'max search depth too small|Search not completed|out of memory' pan.log; then
      cat pan.log
      [[ -f $(basename "$model").trail ]] && spin -t -p -g "$@" "$model" | tail -n 60
      echo "FAILED: $model $* should hold"; exit 1
    fi
    echo "holds: $(basename "$model") $* ($(sed -nE 's/^ *([0-9]+) states, stored.*/\1/p' pan.log) states)"
  else
    if [[ ! $errors =~ ^[1-9] ]]; then
      cat pan.log
      echo "FAILED: $model $* seeds a bug, and the search did not find it"; exit 1
    fi
    echo "found as it should be: $(basename "$model") $* ($(grep -m1 '^pan:1:' pan.log))"
  fi
}

want=pass flags=()
for argument in "$@"; do
  if [[ $argument == --must-fail ]]; then
    check "$want" "${flags[@]}"
    want=fail flags=()
  else
    flags+=("$argument")
  fi
done
check "$want" "${flags[@]}"
