#!/usr/bin/env bash
# Collectives between processes of this host, ours over shared memory and TCP and gloo's in turn.
#   bench/collectives.sh PYTHON [ROUNDS] [OPERATIONS]
# PYTHON has torch and numpy. One JSON line a measurement goes to bench/results/collectives.jsonl (an earlier file is kept as
# .old), and a Markdown table of medians to standard output.
set -euo pipefail
PYTHON="${1:?usage: bench/collectives.sh PYTHON [ROUNDS] [OPERATIONS]}"
ROUNDS="${2:-3}"
OPERATIONS="${3:-all_reduce,reduce_scatter,all_gather}"
HERE="$(cd "$(dirname "$0")" && pwd)"
cd "$HERE/.."
OUT="$HERE/results/collectives.jsonl"
mkdir -p "$HERE/results"
[ -e "$OUT" ] && mv "$OUT" "$OUT.old"
export PYTHONWARNINGS=ignore
./phalanx --version >/dev/null # builds where that is needed

for ((round = 1; round <= ROUNDS; round++)); do
  for ranks in 2 4; do
    for transport in shm tcp; do
      ./phalanx bench collectives --json --ranks "$ranks" --transport "$transport" --op "$OPERATIONS" --sizes 4096,1048576,67108864 >>"$OUT"
    done
    "$PYTHON" "$HERE/peers/collectives_gloo.py" "$ranks" 4096,1048576,67108864 "$OPERATIONS" 2>/dev/null >>"$OUT"
  done
done

"$PYTHON" - "$OUT" <<'PY'
import json, sys
cells = {}
for line in open(sys.argv[1]):
    row = json.loads(line)
    cells.setdefault((row["op"], row["ranks"], row["bytes"]), {}).setdefault(row["transport"], []).append(row["median_us"])
median = lambda values: sorted(values)[len(values) // 2]
text = lambda micros: f"{micros / 1e3:.1f} ms" if micros >= 1e4 else f"{micros:.0f} µs" if micros >= 100 else f"{micros:.1f} µs"
print("| operation | ranks | bytes | shared memory | TCP | gloo | gloo / shared memory | gloo / TCP |")
print("|---|---|---|---|---|---|---|---|")
for (operation, ranks, size), cell in sorted(cells.items(), key=lambda item: (list("ar").index(item[0][0][0]), item[0])):
    shm, tcp, gloo = (median(cell[name]) for name in ("shm", "tcp", "gloo"))
    print(f"| {operation} | {ranks} | {size} | {text(shm)} | {text(tcp)} | {text(gloo)} | {gloo / shm:.1f} | {gloo / tcp:.1f} |")
PY
