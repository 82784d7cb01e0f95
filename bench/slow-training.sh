#!/usr/bin/env bash
# Time to a loss over slow links: ours with each codec, and PyTorch's DDP over gloo with its hooks, in turn.
#   bench/slow-training.sh PYTHON [ROUNDS] [CELLS]
# Needs root: the hosts are pretended ones (see bench/lib/slow-network.sh), of one rank with one thread each. PYTHON has torch and numpy.
# A cell is MODEL:RANKS:RATE:STEPS, where RATE may have a delay, as 100mbit+20ms has. All train on the bytes of data/moby-dick.txt for STEPS steps, those that learn less in a step (topk,
# onebit, PowerSGD) for half as many more; the loss to be reached is the mean of plain DDP's last steps, and a run has reached it
# when the mean of its own last steps has (WINDOW). One JSON line a run goes to
# bench/results/slow-training.jsonl (an earlier file is kept as .old), a Markdown table of medians to standard output and a plot of
# each cell to bench/results/slow-training-CELL.svg.
set -euo pipefail
PYTHON="${1:?usage: bench/slow-training.sh PYTHON [ROUNDS] [CELLS]}"
ROUNDS="${2:-1}"
WINDOW=10 # steps whose mean is a loss
CELLS="${3:-S:2:100mbit:150 S:4:100mbit:150 S:2:1gbit:150 S:4:1gbit:150 M:2:100mbit:60 M:4:100mbit:60 M:2:1gbit:60 M:4:1gbit:60}"
PEERS="${PEERS:-ddp ddp-fp16 ddp-powersgd}"
OURS="${OURS:-none zero1 fp16 int8 topk onebit powersgd}" # zero1: uncompressed, sharding.zero: 1
"$(dirname "$0")/lib/slow-network.sh" 1 1 1gbit true # or ends here, and says why
for cell in $CELLS; do
  if [ "${cell##*:}" -lt "$WINDOW" ]; then
    echo "slow-training.sh: $cell has fewer than $WINDOW steps, over which losses are means" >&2
    exit 64
  fi
done
. "$(dirname "$0")/lib/begin.sh" slow-training.jsonl
export OMP_NUM_THREADS=1
secrets=$(mktemp -d)
trap 'rm -rf "$secrets"' EXIT
export PHALANX_TOKEN_FILE="$secrets/token"

setting() { # CODEC
  case $1 in
    topk) echo "{kind: topk, density: 0.01, warmup_steps: 10}" ;;
    onebit) echo "{kind: onebit, warmup_steps: 15}" ;;
    zero1) echo "{kind: none}" ;;
    powersgd) echo "{kind: powersgd, rank: 4, warmup_steps: 2}" ;;
    *) echo "{kind: $1}" ;;
  esac
}

steps_of() { # CODEC-OR-MODE STEPS
  case $1 in
    topk | onebit | *powersgd) echo $(($2 * 3 / 2)) ;;
    *) echo "$2" ;;
  esac
}

ours() { # MODEL RANKS RATE STEPS CODEC
  local batch=8 stage=0
  [ "$1" = M ] && batch=4
  [ "$5" = zero1 ] && stage=1
  rm -f "$PHALANX_TOKEN_FILE"
  ./phalanx token "$PHALANX_TOKEN_FILE"
  "$HERE/lib/slow-network.sh" "$2" 1 "$3" ./phalanx train "bench/plans/$1.yaml" --external --quiet --set threads=1 \
    --set "data={kind: text, path: data/moby-dick.txt, tokenizer: bytes}" --set batch.micro=$((batch / $2)) \
    --set sharding.zero=$stage --set steps="$4" --set "communication.compression=$(setting "$5")" --set log.report=runs/bench/slow.json >/dev/null
  "$PYTHON" - "$1" "$2" "$3" "$5" >>"$OUT" <<'PY'
import json, sys
report = json.load(open("runs/bench/slow.json"))
found = report["ranks"][0].get("compression")
print(json.dumps({"who": sys.argv[4], "model": sys.argv[1], "ranks": int(sys.argv[2]), "rate": sys.argv[3],
                  "losses": [step["loss"] for step in report["steps"]], "step_ms": [round(step["step_ms"], 2) for step in report["steps"]],
                  "ratio": found and found["ratio"], "exposed_ms": report["ranks"][0]["exposed_communication_ms"] / len(report["steps"])}))
PY
}

peer() { # MODEL RANKS RATE STEPS MODE
  { "$HERE/lib/slow-network.sh" "$2" 1 "$3" "$PYTHON" "$HERE/peers/train_gpt_torch.py" --model "$1" --mode "$5" --threads 1 \
    --text data/moby-dick.txt --warmup 3 --steps $(($4 - 3)) --max-seconds 1000000 2>"$secrets/log" || true; } |
    "$PYTHON" -c '
import json, sys
d = json.loads([line for line in sys.stdin if line.startswith("{")][-1])
name = "DDP" + d["mode"].removeprefix("ddp").replace("-", " ")
print(json.dumps({"who": name, "model": d["model"], "ranks": d["world"], "rate": sys.argv[1], "losses": d["losses"], "step_ms": d["step_ms"]}))' \
    "$3" >>"$OUT"
}

for ((round = 1; round <= ROUNDS; round++)); do
  for cell in $CELLS; do
    IFS=: read -r model ranks rate steps <<<"$cell"
    read -ra modes <<<"$PEERS"
    i=0
    for codec in $OURS; do # in turn with the peers
      if ((i < ${#modes[@]})); then peer "$model" "$ranks" "$rate" "$(steps_of "${modes[i]}" "$steps")" "${modes[i++]}"; fi
      ours "$model" "$ranks" "$rate" "$(steps_of "$codec" "$steps")" "$codec"
    done
    while ((i < ${#modes[@]})); do peer "$model" "$ranks" "$rate" "$(steps_of "${modes[i]}" "$steps")" "${modes[i++]}"; done
  done
done

"$PYTHON" "$HERE/lib/slow_training.py" "$OUT" "$HERE/results" "$WINDOW"
