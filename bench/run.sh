#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Builds mneme-bench, runs it and prints the tables: sh bench/run.sh [peers] [FILTER [ARGUMENT OF GOOGLE BENCHMARK...]]
#   sh bench/run.sh                    everything of ours
#   sh bench/run.sh peers              the same, then the peers beside it: the whole table of goals
#   sh bench/run.sh '^(gla|rwkv6)/'    some ops, by a regular expression over names; the limits run with them
#   sh bench/run.sh peers '^gla/'      some ops and their peers
#   sh bench/run.sh streams            many streams decoded at once by a language model (MNEME_MODEL, or fetched)
#   sh bench/run.sh growth             time and bytes against the length of the past, and what README's program takes
# MNEME_PEERS: where the peers are installed, build/bench/peers if not set (peers/setup.sh).
# Writes build/bench/*.json, log and charts (*.svg). Leave the machine alone meanwhile.
set -eu
cd "$(dirname "$0")/.."

out=build/bench
stream=build/demo/examples/mneme-stream
peers=
if [ "${1-}" = peers ]; then
  peers=${MNEME_PEERS:-$out/peers}
  shift
fi
build() {  # build PRESET TARGET
  { cmake --preset "$1" && cmake --build --preset "$1" -j "$(nproc)" --target "$2"; } >>$out/log 2>&1 || {
    cat $out/log >&2
    exit 1
  }
}
mkdir -p $out
: >$out/log
build bench mneme-bench

commit=$(git describe --always --dirty --abbrev=12 2>/dev/null || echo unknown)
wanted=${1-.}
filter=.
if [ $# -gt 0 ]; then
  filter="^limit/|$1"
  shift
fi
case $wanted in
  . | *streams* | *mneme-stream*)
    [ "${MNEME_MODEL-}" ] || MNEME_MODEL=$(sh cmake/bootstrap.sh model) || echo "no model: no streams" >&2
    ;;
esac
export MNEME_MODEL="${MNEME_MODEL-}"
# Every repetition takes another order, so that what the machine does meanwhile meets all cases.
$out/bench/mneme-bench --benchmark_filter="$filter" --benchmark_context=commit="$commit" \
  --benchmark_enable_random_interleaving=true --benchmark_repetitions=7 --benchmark_min_time=0.03 \
  --benchmark_out=$out/results.json --benchmark_out_format=json "$@" >$out/log || {
  cat $out/log >&2
  exit 1
}
set -- $out/results.json
case $wanted in
  . | *growth*)
    python3 bench/ten_lines.py $out >$out/ten_lines.json
    set -- "$@" $out/ten_lines.json
    ;;
esac
if [ "$peers" ]; then
  sh bench/peers/setup.sh "$peers"
  "$peers/ops/bin/python" bench/peers/measure.py $out/bench/mneme-bench "$wanted" --json $out/peers.json
  set -- "$@" $out/peers.json
  case $wanted in
    . | *mneme-stream*)
      if [ "$MNEME_MODEL" ]; then
        build demo mneme-stream
        builds=
        for python in "$peers"/llama-*/bin/python; do
          [ ! -x "$python" ] || builds="$builds $(echo "$python" | sed 's|.*/llama-\([^/]*\)/.*|\1|')=$python"
        done
        # shellcheck disable=SC2086
        python3 bench/peers/measure_model.py --model "$MNEME_MODEL" --mneme $stream --llama $builds \
          --json $out/model.json
        set -- "$@" $out/model.json
      fi
      ;;
  esac
  [ "$wanted" != . ] || set -- "$@" --complete
fi
python3 bench/compare.py "$@" --charts $out
