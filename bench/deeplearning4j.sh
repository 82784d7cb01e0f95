#!/usr/bin/env bash
# Samples a second of LeNet on images of 28 by 28: one process alone, our ranks as threads, and Deeplearning4j's own ParallelWrapper in
# both its modes, in turn, so that a change of the machine's speed meets all.
#   bench/deeplearning4j.sh [ROUNDS] [BATCH] [WORKERS] [BATCHES]
# BATCH is that of all workers. One JSON line a run goes to bench/results/deeplearning4j.jsonl (an earlier file is kept as .old), and a
# Markdown table of medians to standard output.
set -euo pipefail
ROUNDS="${1:-5}"
BATCH="${2:-128}"
WORKERS="${3:-2}"
BATCHES="${4:-150}"
. "$(dirname "$0")/lib/begin.sh" deeplearning4j.jsonl
. bench/lib/deeplearning4j.sh
WAYS="alone threads wrapper-averaging wrapper-sharing"

for ((round = 1; round <= ROUNDS; round++)); do
  for way in $WAYS; do
    deeplearning4j TrainingSpeed "$way" "$BATCH" "$WORKERS" "$BATCHES" 2>/dev/null | tee -a "$OUT" >&2
  done
done

median() { # WAY
  sed -n "s/.*\"way\": \"$1\".*\"samples_per_s\": \([0-9.]*\).*/\1/p" "$OUT" | sort -n | awk '{v[NR] = $1} END {print v[int((NR + 1) / 2)]}'
}
ours=$(median threads)
echo "| way | samples/s, median of $ROUNDS | Phalanx, times as fast |"
echo "|---|---|---|"
for way in $WAYS; do
  awk -v way="$way" -v speed="$(median "$way")" -v ours="$ours" 'BEGIN {printf "| %s | %.0f | %.2f |\n", way, speed, ours / speed}'
done
