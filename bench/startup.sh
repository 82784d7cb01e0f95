#!/usr/bin/env bash
# Wall time from the command to the end of the first training step with two workers, ours and torchrun's in turn.
#   bench/startup.sh PYTHON [ROUNDS]
# PYTHON has torch and numpy. A Markdown table of medians goes to standard output.
set -euo pipefail
PYTHON="${1:?usage: bench/startup.sh PYTHON [ROUNDS]}"
ROUNDS="${2:-5}"
. "$(dirname "$0")/lib/begin.sh" startup.txt
export OMP_NUM_THREADS=1 GLOO_SOCKET_IFNAME=lo

seconds_since() { "$PYTHON" -c "import sys, time; print(round(time.time() - float(sys.argv[1]), 3))" "$1"; }

ours() {
  local begin
  begin=$(date +%s.%N)
  ./phalanx train bench/plans/S.yaml --set parallel.data=2 --set batch.micro=4 --set threads=1 --set steps=2 --set log.every=1 \
    --set log.report=runs/bench/startup.json 2>&1 >/dev/null | while read -r line; do
    case "$line" in *"step 1/"*) seconds_since "$begin"; cat >/dev/null; break ;; esac
  done
}

torchrun() {
  LAUNCH_T=$(date +%s.%N) "$PYTHON" -m torch.distributed.run --nproc-per-node 2 --master-port $((20000 + RANDOM % 12000)) \
    "$HERE/peers/train_gpt_torch.py" --model S --mode ddp --steps 1 --warmup 1 2>/dev/null |
    "$PYTHON" -c 'import json, sys; print(json.load(sys.stdin)["launch_to_first_step_s"])'
}

for ((round = 1; round <= ROUNDS; round++)); do
  echo "$(ours) $(torchrun)" | tee -a "$OUT" >&2
done
"$PYTHON" - "$OUT" <<'PY'
import sys
from statistics import median
pairs = [tuple(map(float, line.split())) for line in open(sys.argv[1])]
ratios = [ours / peer for ours, peer in pairs]
print("| launch to first step, 2 workers | Phalanx s | torchrun s | ratio [min .. max] |")
print("|---|---|---|---|")
print(f"| model S | {median([p[0] for p in pairs]):.2f} | {median([p[1] for p in pairs]):.2f} | {median(ratios):.2f} [{min(ratios):.2f} .. {max(ratios):.2f}] |")
PY
