#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Builds mneme-bench, runs it and prints the tables: sh bench/run.sh [FILTER [ARGUMENT OF GOOGLE BENCHMARK...]]
#   sh bench/run.sh                    everything
#   sh bench/run.sh '^(gla|rwkv6)/'    some ops, by a regular expression over names; the limits run with them
#   sh bench/run.sh streams            many streams decoded at once by a language model (MNEME_MODEL, or fetched)
#   sh bench/run.sh growth             time and bytes against the length of the past, and what README's program takes
# Writes build/bench/results.json, log and charts (*.svg). Leave the machine alone meanwhile.
set -eu
cd "$(dirname "$0")/.."

out=build/bench
mkdir -p $out
cmake --preset bench >$out/log 2>&1 && cmake --build --preset bench -j "$(nproc)" >>$out/log 2>&1 || {
  cat $out/log >&2
  exit 1
}

commit=$(git describe --always --dirty --abbrev=12 2>/dev/null || echo unknown)
wanted=${1-.}
filter=.
if [ $# -gt 0 ]; then
  filter="^limit/|$1"
  shift
fi
case $wanted in
  . | *streams*)
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
built=
case $wanted in
  . | *growth*)
    built=$out/ten_lines.json
    python3 bench/ten_lines.py $out >$built
    ;;
esac
# shellcheck disable=SC2086
python3 bench/compare.py $out/results.json $built --charts $out
