#!/bin/bash
# The example says what it should, also when it collects at every allocation.
set -euo pipefail
expect() {
  [[ $1 =~ ^"left is 7, right is null, after "[0-9]+" collection"$ ]] && return
  echo "said: $1"
  exit 1
}
expect "$(examples/quickstart)"
expect "$(EBB_OPTIONS=stress_collect_every=1 examples/quickstart)"
