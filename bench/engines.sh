#!/usr/bin/env bash
# Training speed of each engine, in turn, so that a change of the machine's speed meets both.
#   bench/engines.sh [ROUNDS] [MODELS]
# One process, one thread, fp32. Needs python3 to add up. A Markdown table of medians goes to standard output.
set -euo pipefail
ROUNDS="${1:-3}"
MODELS="${2:-S M}"
. "$(dirname "$0")/lib/begin.sh" engines.jsonl

for ((round = 1; round <= ROUNDS; round++)); do
  for model in $MODELS; do
    WARMUP=$(warmup_of "$model")
    for engine in torch nd4j; do
      ./phalanx train "bench/plans/$model.yaml" --workers 1 --quiet --set threads=1 --set "engine=$engine" \
        --set steps=$((WARMUP + ${STEPS:-8})) --set log.report=runs/bench/engine.json >/dev/null
      python3 - "$model" "$engine" "$WARMUP" <<'PY' | tee -a "$OUT" >&2
import json, sys
report = json.load(open("runs/bench/engine.json"))
steps = report["steps"][int(sys.argv[3]):]
times = sorted(step["step_ms"] for step in steps)
print(json.dumps({"model": sys.argv[1], "engine": sys.argv[2], "tokens_per_s": steps[0]["tokens"] / times[len(times) // 2] * 1e3,
                  "peak_rss_mb": report["ranks"][0]["peak_rss_bytes"] / 2**20, "last_loss": steps[-1]["loss"]}))
PY
    done
  done
done

python3 - "$OUT" <<'PY'
import json, sys
from statistics import median
cells = {}
for line in open(sys.argv[1]):
    run = json.loads(line)
    cells.setdefault(run["model"], {}).setdefault(run["engine"], []).append(run)
print("| model | torch tokens/s | nd4j tokens/s | ratio [min .. max] | torch peak MB | nd4j peak MB |")
print("|---|---|---|---|---|---|")
for model, cell in cells.items():
    speed = lambda engine: median([run["tokens_per_s"] for run in cell[engine]])
    memory = lambda engine: max(run["peak_rss_mb"] for run in cell[engine])
    ratios = [b["tokens_per_s"] / a["tokens_per_s"] for a, b in zip(cell["torch"], cell["nd4j"])]
    print(f'| {model} | {speed("torch"):.0f} | {speed("nd4j"):.0f} | {median(ratios):.2f} [{min(ratios):.2f} .. {max(ratios):.2f}] '
          f'| {memory("torch"):.0f} | {memory("nd4j"):.0f} |')
PY
