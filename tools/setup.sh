#!/bin/bash
# Installs what the build needs from the Debian archive, and unpacks the C++ dependencies' Debian
# packages into third_party/src. For Debian 12, as root or with sudo; safe to run from several
# shells at once. Prints nothing, and takes about 0.01 s, when all is in place.
#
#   tools/setup.sh            what building and testing need
#   tools/setup.sh --peers    also the allocators and the JVM that bench/ compares Ebb with
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

packages=(bazel-bootstrap bazel-skylib build-essential dpkg-dev python3 liburing-dev spin
  clang-19 clang-tidy-19 clang-format-19 lld-19 llvm-19 libclang-rt-19-dev)
sources=(abseil/trixie googletest/bookworm benchmark/bookworm)   # source package / suite
src=third_party/src
stamp=$src/.stamp
want="v4 ${sources[*]}"

for argument in "$@"; do
  case $argument in
    --peers) packages+=(libgc-dev libmimalloc-dev libjemalloc-dev openjdk-17-jdk-headless) ;;
    *) echo "setup: unknown argument '$argument' (known: --peers)" >&2; exit 2 ;;
  esac
done

# Sets `missing`. A package's .md5sums is there exactly while its files are (its .list outlives a
# removal); asking dpkg itself would cost ten times the whole fast path.
find_missing() {
  local p info=/var/lib/dpkg/info arch=
  missing=()
  for p in "${packages[@]}"; do
    [[ -e $info/$p.md5sums ]] && continue
    [[ $arch ]] || arch=$(dpkg --print-architecture)
    [[ -e $info/$p:$arch.md5sums ]] || missing+=("$p")
  done
}

# logged WHAT COMMAND...: runs it silently; its output is shown only if it fails.
logged() {
  local what=$1 status=0; shift
  "$@" >"$tmp/log" 2>&1 </dev/null || status=$?
  ((status == 0)) || { echo "setup: $what failed:" >&2; tail -n 40 "$tmp/log" >&2; }
  return "$status"
}

install_missing() {
  local as_root=(env)
  if ((EUID != 0)); then
    command -v sudo >/dev/null ||
      { echo "setup: run as root, or install sudo, or: apt-get install ${missing[*]}" >&2; exit 1; }
    as_root=(sudo -- env)
  fi
  local get=("${as_root[@]}" DEBIAN_FRONTEND=noninteractive
    apt-get -q -y -o DPkg::Lock::Timeout=600 -o Acquire::Retries=3)
  echo "setup: installing ${missing[*]}" >&2
  get_packages() {
    logged "apt-get install" "${get[@]}" install --no-install-recommends "${missing[@]}"
  }
  # The lists this machine has may be fresh enough; if not, fetch them and try once more.
  get_packages 2>/dev/null || { logged "apt-get update" "${get[@]}" update && get_packages; }
}

# archive_entry: this machine's own Debian archive entry, as a deb822 stanza without its Types and
# Suites; from debian.sources style files, or from one-line sources.list style ones.
archive_entry() {
  local file entry
  for file in /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list \
              /etc/apt/sources.list.d/*.sources /etc/apt/sources.list.d/*.list; do
    [[ -r $file ]] || continue
    if [[ $file == *.sources ]]; then
      entry=$(awk -v RS= '/(^|\n)Suites:[^\n]*[ \t]bookworm([ \t]|\n|$)/ &&
                /(^|\n)URIs:[^\n]*debian/ { print; exit }' "$file" |
                sed -E '/^(Types|Suites|Components|Enabled):/d; /^#/d')
    else
      # deb [signed-by=KEY arch=...] URI bookworm main ...
      entry=$(awk '$1 == "deb" { line = $0; options = ""
                if (match(line, /\[[^]]*\]/)) {
                  options = substr(line, RSTART + 1, RLENGTH - 2)
                  line = substr(line, 1, RSTART - 1) substr(line, RSTART + RLENGTH)
                }
                split(line, word)
                if (word[3] != "bookworm" || word[2] !~ /debian/) next
                print "URIs: " word[2]
                if (match(options, /signed-by=[^ ]+/))
                  print "Signed-By: " substr(options, RSTART + 10, RLENGTH - 10)
                exit }' "$file")
    fi
    [[ $entry ]] && { printf '%s\nComponents: main\n' "$entry"; return; }
  done
  echo "setup: no Debian 12 (bookworm) archive in /etc/apt/sources.list or sources.list.d" >&2
  return 1
}

# Downloads with a throwaway configuration of apt: nothing on the machine changes, no root needed.
download() {
  local entry suites s
  entry=$(archive_entry)
  mkdir -p "$tmp"/{lists,cache/archives}/partial "$tmp/parts" "$tmp/work"
  mapfile -t suites < <(printf '%s\n' "${sources[@]#*/}" | sort -u)
  for s in "${suites[@]}"; do
    printf 'Types: deb-src\nSuites: %s\n%s\n\n' "$s" "$entry"
  done >"$tmp/parts/ebb.sources"
  local get=(apt-get -q -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts="$tmp/parts"
    -o Dir::State::Lists="$tmp/lists" -o Dir::Cache="$tmp/cache" -o Acquire::Languages=none
    -o Acquire::Retries=3 -o APT::Sandbox::User="$(id -un)")
  logged "apt-get update" "${get[@]}" update
  cd "$tmp/work"
  logged "downloading ${sources[*]}" "${get[@]}" source --download-only "${sources[@]}"
  cd "$OLDPWD"
}

unpack() {
  local p s new=$src/.new
  rm -rf "$stamp" "$new"; mkdir -p "$new"
  for s in "${sources[@]}"; do
    p=${s%/*}
    logged "unpacking $p" dpkg-source --no-check -x "$tmp/work/${p}"_*.dsc "$new/$p"
  done
  # Debian pins Abseil's own string_view/optional/variant types; with C++20 take the std ones.
  sed -i -E 's/(define ABSL_OPTION_USE_STD_[A-Z_]+) 0/\1 2/' "$new/abseil/absl/base/options.h"
  for p in "$new"/*/; do
    p=$(basename "$p"); rm -rf "${src:?}/$p"; mv "$new/$p" "$src/$p"
  done
  rm -rf "$new"
  echo "$want" >"$stamp"
}

unpacked() { [[ -f $stamp && $(<"$stamp") == "$want" ]]; }

find_missing
if ((${#missing[@]} == 0)) && unpacked; then exit 0; fi

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
if ((${#missing[@]})); then
  # One at a time on this machine: apt-get update does not wait for another one.
  exec 8</var/lib/dpkg/info
  flock 8
  find_missing    # another shell may just have installed them
  ((${#missing[@]} == 0)) || install_missing
  exec 8<&-
fi
# One at a time in this checkout.
exec 9<third_party
flock 9
if ! unpacked; then
  echo "setup: unpacking ${sources[*]} into $src" >&2
  download
  unpack
fi
