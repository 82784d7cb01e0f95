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
SECONDS_A_RUN="${SECONDS_A_RUN:-120}"
. "$(dirname "$0")/lib/begin.sh" deeplearning4j.jsonl
. bench/lib/deeplearning4j.sh
WAYS="alone threads wrapper-averaging wrapper-sharing"

for ((round = 1; round <= ROUNDS; round++)); do
  for way in $WAYS; do
    status=0
    deeplearning4j TrainingSpeed "$way" "$BATCH" "$WORKERS" "$BATCHES" 2>"$OUT.err" | tee -a "$OUT" >&2 || status=$?
    if [ "$status" != 0 ]; then # 124: it ran out of SECONDS_A_RUN
      echo "{\"way\": \"$way\", \"failed\": $status}" | tee -a "$OUT" >&2
      tail -n 5 "$OUT.err" >&2
      WAYS="${WAYS/$way/}" # it would fail again
    fi
  done
done

median() { # WAY KEY
  sed -n "s/.*\"way\": \"$1\".*\"$2\": \([0-9.]*\).*/\1/p" "$OUT" | sort -n | awk '{v[NR] = $1} END {print NR ? v[int((NR + 1) / 2)] : 0}'
}
ratio() { # WAY KEY
  awk -v theirs="$(median "$1" "$2")" -v ours="$(median threads "$2")" 'BEGIN {if (theirs) printf "%.0f | %.2f", theirs, ours / theirs; else printf "- | -"}'
}
echo "| way | samples/s, median of $ROUNDS | Phalanx, times as fast | samples a second of CPU time | Phalanx, times as many |"
echo "|---|---|---|---|---|"
for way in $WAYS; do
  echo "| $way | $(ratio "$way" samples_per_s) | $(ratio "$way" samples_per_cpu_s) |"
done
