#!/usr/bin/env bash
# Data-parallel training of ranks with one thread each: ours in every stage of sharding.zero, and PyTorch's DDP, ZeroRedundancyOptimizer
# and fully_shard over gloo, in turn.
#   bench/sharding.sh PYTHON [ROUNDS] [CELLS]
# PYTHON has torch and numpy. A cell is MODEL:RANKS:PRECISION. One JSON line a run goes to bench/results/sharding.jsonl (an earlier
# file is kept as .old), and Markdown tables of medians and ratios to standard output.
set -euo pipefail
PYTHON="${1:?usage: bench/sharding.sh PYTHON [ROUNDS] [CELLS]}"
ROUNDS="${2:-3}"
CELLS="${3:-S:2:fp32 S:4:fp32 S:2:bf16 S:4:bf16 M:2:fp32 M:4:fp32 M:2:bf16 M:4:bf16}"
. "$(dirname "$0")/lib/begin.sh" sharding.jsonl
STEPS="${STEPS:-14}"
export GLOO_SOCKET_IFNAME="${GLOO_SOCKET_IFNAME:-lo}" OMP_NUM_THREADS=1

ours() { # MODEL RANKS PRECISION STAGE STEPS
  local batch=8
  [ "$1" = M ] && batch=4
  ./phalanx train "bench/plans/$1.yaml" --workers "$2" --quiet --set threads=1 --set precision="$3" --set sharding.zero="$4" \
    --set batch.micro=$((batch / $2)) --set steps=$(($5 + WARMUP)) --set log.report=runs/bench/report.json >/dev/null
  "$PYTHON" - "$1" "$2" "$3" "$4" "$WARMUP" >>"$OUT" <<'PY'
import json, sys
report = json.load(open("runs/bench/report.json"))
steps = report["steps"][int(sys.argv[5]):]
times = sorted(step["step_ms"] for step in steps)
ranks = report["ranks"]
print(json.dumps({"who": "zero " + sys.argv[4], "model": sys.argv[1], "ranks": int(sys.argv[2]), "precision": sys.argv[3],
                  "tokens_per_s": steps[0]["tokens"] / times[len(times) // 2] * 1e3,
                  "peak_rss_mb": max(rank["peak_rss_bytes"] for rank in ranks) / 2**20,
                  "exposed_ms": max(rank["exposed_communication_ms"] for rank in ranks) / len(report["steps"])}))
PY
}

peer() { # MODEL RANKS PRECISION MODE STEPS
  # A peer that fails while it ends has told its figures.
  { "$PYTHON" -m torch.distributed.run --nproc-per-node "$2" --master-port $((20000 + RANDOM % 12000)) \
    "$HERE/peers/train_gpt_torch.py" --model "$1" --mode "$4" --threads 1 --dtype "$3" --steps "$5" --warmup "$WARMUP" --max-seconds 60 \
    2>/dev/null || true; } | "$PYTHON" -c '
import json, sys
d = json.loads([line for line in sys.stdin if line.startswith("{")][-1])
print(json.dumps({"who": d["mode"], "model": d["model"], "ranks": d["world"], "precision": d["dtype"],
                  "tokens_per_s": d["tokens_per_s"], "peak_rss_mb": max(d["peak_rss_mb"])}))' >>"$OUT"
}

for ((round = 1; round <= ROUNDS; round++)); do
  for cell in $CELLS; do
    IFS=: read -r model ranks precision <<<"$cell"
    steps=$STEPS
    [ "$model" = M ] && steps=$((STEPS / 2))
    WARMUP=$(warmup_of "$model")
    ours "$model" "$ranks" "$precision" 0 "$steps"
    peer "$model" "$ranks" "$precision" ddp "$steps"
    ours "$model" "$ranks" "$precision" 1 "$steps"
    peer "$model" "$ranks" "$precision" zero1 "$steps"
    ours "$model" "$ranks" "$precision" 2 "$steps"
    ours "$model" "$ranks" "$precision" 3 "$steps"
    peer "$model" "$ranks" "$precision" fsdp2 "$steps"
  done
done

"$PYTHON" - "$OUT" <<'PY'
import json, sys
from statistics import median
cells = {}
for line in open(sys.argv[1]):
    run = json.loads(line)
    cells.setdefault((run["model"], run["ranks"], run["precision"]), {}).setdefault(run["who"], []).append(run)
names = {"zero 0": "stage 0", "ddp": "DDP", "zero 1": "stage 1", "zero1": "ZeroRedundancyOptimizer", "zero 2": "stage 2",
         "zero 3": "stage 3", "fsdp2": "fully_shard"}
ratios = [("zero 0", "ddp"), ("zero 1", "zero1"), ("zero 3", "fsdp2"), ("zero 1", "zero 0"), ("zero 3", "zero 0")]
def table(title, heads, row):
    print(f"\n{title}\n\n| model | ranks | precision | " + " | ".join(heads) + " |\n" + "|---" * (3 + len(heads)) + "|")
    for (model, ranks, precision), cell in cells.items():
        print(f"| {model} | {ranks} | {precision} | " + " | ".join(row(cell)) + " |")
speed = lambda cell, who: [run["tokens_per_s"] for run in cell[who]]
table("Tokens per second", names.values(), lambda cell: [f"{median(speed(cell, who)):.0f}" for who in names])
table("Ratios of neighbours", [f"{names[a]} / {names[b]}" for a, b in ratios],
      lambda cell: [f"{median([x / y for x, y in zip(speed(cell, a), speed(cell, b))]):.2f}" for a, b in ratios])
table("Peak resident MB of the largest rank", names.values(),
      lambda cell: [f'{max(run["peak_rss_mb"] for run in cell[who]):.0f}' for who in names])
PY
