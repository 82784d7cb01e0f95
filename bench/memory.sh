#!/usr/bin/env bash
# Resident memory of one worker over many steps of a small model: it must not grow.
#   bench/memory.sh [ENGINE] [STEPS]
# A Markdown table goes to standard output: the worker's resident memory when so much of its steps were done.
set -euo pipefail
ENGINE="${1:-nd4j}"
STEPS="${2:-10000}"
. "$(dirname "$0")/lib/begin.sh" "memory-$ENGINE.txt"

resident_of_worker() {
  local worker
  for worker in $(pgrep -f dev.phalanx.launcher.worker.WorkerMain -P "$1"); do
    awk '/^VmRSS/ { print int($2 / 1024) }' "/proc/$worker/status"
  done
}

coproc JOB { exec ./phalanx train bench/plans/S.yaml --workers 1 --set "engine=$ENGINE" --set "steps=$STEPS" --set model.layers=2 \
  --set model.hidden=64 --set model.sequence=32 --set threads=1 --set "log.every=$((STEPS / 10))" --set log.report=runs/bench/memory.json 2>&1; }
echo "| step, engine $ENGINE | resident memory MB |"
echo "|---|---|"
while read -r line <&"${JOB[0]}"; do
  case "$line" in
    *step\ *) step=${line#*step }; memory=$(resident_of_worker "$JOB_PID"); [ -z "$memory" ] || echo "| ${step%% *} | $memory |" | tee -a "$OUT" ;;
  esac
done
wait "$JOB_PID"
