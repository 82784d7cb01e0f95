#!/usr/bin/env bash
# Training speed and memory of one process, ours and PyTorch's in turn, so that a change of the machine's speed meets both.
#   bench/training.sh PYTHON [ROUNDS] [CELLS]
# PYTHON has torch and numpy. A cell is MODEL:THREADS:PRECISION. One JSON line a run goes to bench/results/training.jsonl
# (an earlier file is kept as .old), and a Markdown table of medians and ratios to standard output.
set -euo pipefail
PYTHON="${1:?usage: bench/training.sh PYTHON [ROUNDS] [CELLS]}"
ROUNDS="${2:-3}"
CELLS="${3:-S:1:fp32 S:2:fp32 S:1:bf16 M:1:fp32 M:2:fp32 M:1:bf16}"
. "$(dirname "$0")/lib/begin.sh" training.jsonl
STEPS="${STEPS:-14}"

for ((round = 1; round <= ROUNDS; round++)); do
  for cell in $CELLS; do
    IFS=: read -r model threads precision <<<"$cell"
    steps=$STEPS
    [ "$model" = M ] && steps=$((STEPS / 2))
    WARMUP=$(warmup_of "$model")
    ./phalanx train "bench/plans/$model.yaml" --workers 1 --quiet --set threads="$threads" --set precision="$precision" \
      --set steps=$((steps + WARMUP)) --set log.report=runs/bench/report.json >/dev/null
    "$PYTHON" - "$model" "$threads" "$precision" "$WARMUP" >>"$OUT" <<'PY'
import json, sys
report = json.load(open("runs/bench/report.json"))
steps = report["steps"][int(sys.argv[4]):]
times = sorted(s["step_ms"] for s in steps)
median = times[len(times) // 2]
print(json.dumps({"who": "phalanx", "model": sys.argv[1], "threads": int(sys.argv[2]), "precision": sys.argv[3],
                  "tokens_per_s": steps[0]["tokens"] / median * 1e3, "step_ms": median,
                  "peak_rss_mb": report["ranks"][0]["peak_rss_bytes"] / 2**20, "last_loss": steps[-1]["loss"]}))
PY
    OMP_NUM_THREADS="$threads" "$PYTHON" "$HERE/peers/train_gpt_torch.py" --model "$model" --mode single --threads "$threads" \
      --dtype "$precision" --steps "$steps" --warmup "$WARMUP" --max-seconds 60 2>/dev/null | "$PYTHON" -c '
import json, sys
d = json.loads(sys.stdin.readlines()[-1])
print(json.dumps({"who": "pytorch " + d["torch"], "model": d["model"], "threads": d["threads"], "precision": d["dtype"],
                  "tokens_per_s": d["tokens_per_s"], "step_ms": d["step_ms_median"], "peak_rss_mb": d["peak_rss_mb"][0],
                  "last_loss": d["losses"][-1]}))' >>"$OUT"
    tail -n 2 "$OUT" >&2
  done
done

"$PYTHON" - "$OUT" <<'PY'
import json, sys
from statistics import median
cells = {}
for line in open(sys.argv[1]):
    run = json.loads(line)
    cell = cells.setdefault((run["model"], run["threads"], run["precision"]), {})
    cell.setdefault("ours" if run["who"] == "phalanx" else "peer", []).append(run)
print("| model | threads | precision | Phalanx tokens/s | PyTorch tokens/s | ratio [min .. max] | Phalanx peak MB | PyTorch peak MB |")
print("|---|---|---|---|---|---|---|---|")
for (model, threads, precision), cell in cells.items():
    pairs = [a["tokens_per_s"] / b["tokens_per_s"] for a, b in zip(cell["ours"], cell["peer"])]
    speed = lambda who: median([run["tokens_per_s"] for run in cell[who]])
    memory = lambda who: max(run["peak_rss_mb"] for run in cell[who])
    print(f'| {model} | {threads} | {precision} | {speed("ours"):.0f} | {speed("peer"):.0f} | {median(pairs):.2f} [{min(pairs):.2f} .. {max(pairs):.2f}] '
          f'| {memory("ours"):.0f} | {memory("peer"):.0f} |')
PY
