#!/usr/bin/env bash
# What each codec learns: configs/quickstart.yaml with two ranks and every kind of communication.compression, at equal steps.
#   bench/compression.sh [STEPS] [NAMES]
# NAMES are of the list below, all if left out. One JSON line a run goes to bench/results/compression.jsonl (lines that are there
# stay, so that a run can go on), a Markdown table to standard output, and a plot to bench/results/compression.svg. Needs Python 3.
set -euo pipefail
STEPS="${1:-3000}"
NAMES="${2:-none fp16 bf16 int8 topk-0.1 topk-0.01 topk-0.001 threshold-0.0002 threshold-0.001 adaptive-0.0001-0.01 onebit powersgd-16 powersgd-4 powersgd-1}"
HERE="$(cd "$(dirname "$0")" && pwd)"
cd "$HERE/.."
OUT="$HERE/results/compression.jsonl"
mkdir -p "$HERE/results" runs/bench

setting() {
  case $1 in
    topk-*) echo "{kind: topk, density: ${1#*-}, warmup_steps: $((STEPS / 10))}" ;;
    adaptive-*-*) range="${1#*-}" && echo "{kind: threshold, min_density: ${range%-*}, max_density: ${range#*-}}" ;;
    threshold-*) echo "{kind: threshold, threshold: ${1#*-}}" ;;
    onebit) echo "{kind: onebit, warmup_steps: $((STEPS / 5))}" ;;
    powersgd-*) echo "{kind: powersgd, rank: ${1#*-}, warmup_steps: $((STEPS / 30))}" ;;
    *) echo "{kind: $1}" ;;
  esac
}

for name in $NAMES; do
  rm -rf runs/bench/compression-checkpoints
  ./phalanx train configs/quickstart.yaml --quiet --set steps="$STEPS" --set optimizer.schedule.decay_steps="$STEPS" \
    --set "communication.compression=$(setting "$name")" --set checkpoint.dir=runs/bench/compression-checkpoints \
    --set evaluation.batches=32 --set log.report=runs/bench/compression.json >/dev/null
  python3 - "$name" "$(setting "$name")" >>"$OUT" <<'PY'
import json, sys
report = json.load(open("runs/bench/compression.json"))
print(json.dumps({"name": sys.argv[1], "setting": sys.argv[2], "losses": [round(step["loss"], 4) for step in report["steps"]],
                  "evaluation": report["evaluations"][-1]["loss"], "compression": report["ranks"][0].get("compression")}))
PY
done

exec 3>&1 # the table goes there, the curves into the pipe
python3 - "$OUT" <<'PY' 2>&3 | python3 bench/lib/plot.py bench/results/compression.svg "Quickstart, two ranks" steps "training loss, mean of 50 steps"
import json, sys
runs = {}
for line in open(sys.argv[1]):
    run = json.loads(line)
    runs[run["name"]] = run
last = lambda run: sum(run["losses"][-100:]) / 100
none = runs["none"]
rows = ["| codec | setting | ratio | codec ms a step | training loss, last 100 steps | held-out loss | against none |", "|---|---|---|---|---|---|---|"]
for run in runs.values():
    found = run["compression"]
    ratio, codec = (f'{found["ratio"]:.1f}', f'{found["codec_ms"] / len(run["losses"]):.1f}') if found else ("1", "–")
    rows.append(f'| {run["name"]} | `{run["setting"]}` | {ratio} | {codec} | {last(run):.4f} | {run["evaluation"]:.4f} | '
                f'{100 * (run["evaluation"] / none["evaluation"] - 1):+.2f} % |')
print("\n".join(rows), file=sys.stderr)
mean = lambda losses, at: sum(losses[max(0, at - 50):at]) / min(50, at)
print(json.dumps({name: [[at, mean(run["losses"], at)] for at in range(50, len(run["losses"]) + 1, 10)] for name, run in runs.items()}))
PY
