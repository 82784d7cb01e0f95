#!/usr/bin/env bash
# A model divided among two ranks of one thread each: tensor and pipeline parallel, ours and PyTorch's over gloo, our context parallel,
# and our one process with two threads, in turn.
#   bench/parallel.sh PYTHON [ROUNDS] [MODELS]
# PYTHON has torch and numpy. One JSON line a run goes to bench/results/parallel.jsonl (an earlier file is kept as .old), and Markdown
# tables of medians and ratios to standard output. A pipeline's micro-batches are one sequence each; its bound is the rate of two ranks
# that each compute half of what one rank of one thread computes, less the schedule's idle time.
set -euo pipefail
PYTHON="${1:?usage: bench/parallel.sh PYTHON [ROUNDS] [MODELS]}"
ROUNDS="${2:-3}"
MODELS="${3:-S M}"
. "$(dirname "$0")/lib/begin.sh" parallel.jsonl
STEPS="${STEPS:-14}"
export GLOO_SOCKET_IFNAME="${GLOO_SOCKET_IFNAME:-lo}" OMP_NUM_THREADS=1

ours() { # MODEL WHO STEPS ARGUMENTS...
  local model="$1" who="$2" steps="$3"
  shift 3
  ./phalanx train "bench/plans/$model.yaml" --quiet --set threads=1 --set steps=$((steps + WARMUP)) --set log.report=runs/bench/report.json \
    "$@" >/dev/null
  "$PYTHON" - "$model" "$who" "$WARMUP" >>"$OUT" <<'PY'
import json, sys
report = json.load(open("runs/bench/report.json"))
steps = report["steps"][int(sys.argv[3]):]
times = sorted(step["step_ms"] for step in steps)
print(json.dumps({"who": sys.argv[2], "model": sys.argv[1], "tokens_per_s": steps[0]["tokens"] / times[len(times) // 2] * 1e3,
                  "step_ms": times[len(times) // 2],
                  "compute_ms": [rank["compute_ms"] / len(report["steps"]) for rank in report["ranks"]],
                  "exposed_ms": [rank["exposed_communication_ms"] / len(report["steps"]) for rank in report["ranks"]],
                  "peak_rss_mb": max(rank["peak_rss_bytes"] for rank in report["ranks"]) / 2**20}))
PY
}

peer() { # MODEL MODE STEPS
  # A peer that fails while it ends has told its figures.
  { "$PYTHON" -m torch.distributed.run --nproc-per-node 2 --master-port $((20000 + RANDOM % 12000)) \
    "$HERE/peers/train_gpt_torch.py" --model "$1" --mode "$2" --threads 1 --steps "$3" --warmup "$WARMUP" --max-seconds 60 \
    --micro-batch 1 2>/dev/null || true; } | "$PYTHON" -c '
import json, sys
d = json.loads([line for line in sys.stdin if line.startswith("{")][-1])
print(json.dumps({"who": d["mode"], "model": d["model"], "tokens_per_s": d["tokens_per_s"], "peak_rss_mb": max(d["peak_rss_mb"])}))' >>"$OUT"
}

for ((round = 1; round <= ROUNDS; round++)); do
  for model in $MODELS; do
    steps=$STEPS
    [ "$model" = M ] && steps=$((STEPS / 2))
    WARMUP=$(warmup_of "$model")
    ours "$model" "one rank" "$steps" --workers 1 --set batch.micro=1
    ours "$model" "two threads" "$steps" --workers 1 --set threads=2
    ours "$model" "tensor" "$steps" --workers 2 --set parallel.tensor=2
    peer "$model" tp "$steps"
    ours "$model" "tensor, sequence parallel" "$steps" --workers 2 --set parallel.tensor=2 --set parallel.sequence_parallel=true
    ours "$model" "context" "$steps" --workers 2 --set parallel.context=2
    for schedule in gpipe 1f1b zb-h1; do
      ours "$model" "$schedule" "$steps" --workers 2 --set parallel.pipeline=2 --set parallel.schedule="$schedule" --set batch.micro=1
      [ "$schedule" = zb-h1 ] || peer "$model" "pp-$schedule" "$steps"
    done
  done
done

"$PYTHON" - "$OUT" <<'PY'
import json, subprocess, sys
from statistics import median
cells = {}
for line in open(sys.argv[1]):
    run = json.loads(line)
    cells.setdefault(run["model"], {}).setdefault(run["who"], []).append(run)
speed = lambda cell, who: [run["tokens_per_s"] for run in cell[who]]
who = ["one rank", "two threads", "tensor", "tp", "tensor, sequence parallel", "context", "gpipe", "pp-gpipe", "1f1b", "pp-1f1b", "zb-h1"]
print("Tokens per second\n\n| model | " + " | ".join(who) + " |\n" + "|---" * (1 + len(who)) + "|")
for model, cell in cells.items():
    print(f"| {model} | " + " | ".join(f"{median(speed(cell, each)):.0f}" for each in who) + " |")
ratios = [("tensor", "tp"), ("tensor", "two threads"), ("context", "two threads"), ("gpipe", "pp-gpipe"), ("1f1b", "pp-1f1b")]
bounded = ["gpipe", "1f1b"]
print("\nRatios of neighbours, and of pipelines to their bound\n\n| model | " + " | ".join(f"{a} / {b}" for a, b in ratios)
      + " | " + " | ".join(f"{each} / bound" for each in bounded) + " |\n" + "|---" * (1 + len(ratios) + len(bounded)) + "|")
for model, cell in cells.items():
    row = [median([x / y for x, y in zip(speed(cell, a), speed(cell, b))]) for a, b in ratios]
    batch = 8 if model == "S" else 4
    for each in bounded: # two ranks, m micro-batches: m of m + 1 times of a micro-batch are work
        row.append(median([x / (2 * y * batch / (batch + 1)) for x, y in zip(speed(cell, each), speed(cell, "one rank"))]))
    print(f"| {model} | " + " | ".join(f"{value:.2f}" for value in row) + " |")

# What ranks waited, over what the simulator says where each computes as long as it did, a third of it forward. The first steps are among it,
# and the update is taken for a part of the passes.
def idle(run, schedule, micro_batches):
    third = ",".join(f"{each / micro_batches / 3:.6f}" for each in run["compute_ms"])
    told = subprocess.run(["./phalanx", "schedule", "--kind", schedule, "--stages", "2", "--micro-batches", str(micro_batches), "--forward", third,
                           "--backward-input", third, "--backward-weight", third, "--json"], capture_output=True, text=True, check=True).stdout
    return sum(run["exposed_ms"]) / sum(json.loads(told)["waits"])
schedules = ["gpipe", "1f1b", "zb-h1"]
print("\nIdle time of both ranks, measured over simulated\n\n| model | " + " | ".join(schedules) + " |\n" + "|---" * (1 + len(schedules)) + "|")
for model, cell in cells.items():
    print(f"| {model} | " + " | ".join(f"{median([idle(run, each, 8 if model == 'S' else 4) for run in cell[each]]):.2f}" for each in schedules) + " |")
PY
