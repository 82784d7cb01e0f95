#!/usr/bin/env bash
# Samples a second of LeNet on images of 28 by 28: one process alone, one thread of ours, our ranks as threads, and Deeplearning4j's own
# ParallelWrapper in both its modes, in turn, so that a change of the machine's speed meets all.
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
WAYS="alone one-thread threads wrapper-averaging wrapper-sharing"

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

values() { # WAY KEY
  sed -n "s/.*\"way\": \"$1\".*\"$2\": \([0-9.]*\).*/\1/p" "$OUT"
}
median() { # with the least and the largest
  sort -n | awk '{v[NR] = $1} END {if (NR) printf "%.4g [%.4g .. %.4g]", (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2, v[1], v[NR]}'
}
echo "| way | samples/s, median of $ROUNDS | two threads of ours, times as fast, of each round | samples a second of CPU time |"
echo "|---|---|---|---|"
for way in $WAYS; do
  ratios=$(paste <(values threads samples_per_s) <(values "$way" samples_per_s) | awk '{print $1 / $2}' | median)
  echo "| $way | $(values "$way" samples_per_s | median) | $ratios | $(values "$way" samples_per_cpu_s | median) |"
done
