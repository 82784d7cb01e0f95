#!/usr/bin/env bash
# All-reduce of 64 MiB fp32 between hosts over slow links, ours and gloo's in turn.
#   bench/slow-link.sh PYTHON [ROUNDS]
# Needs root: the hosts are pretended ones (see bench/lib/slow-network.sh). PYTHON has torch and numpy. One JSON line a
# measurement goes to bench/results/slow-link.jsonl (an earlier file is kept as .old), and a Markdown table of medians to standard
# output. Its limit is what each host's link has to carry, in each direction, over the link's rate: with h hosts 2 (h - 1) / h
# times the tensor, in Ethernet frames of 1514 bytes that hold 1448 of it.
set -euo pipefail
PYTHON="${1:?usage: bench/slow-link.sh PYTHON [ROUNDS]}"
ROUNDS="${2:-3}"
BYTES=67108864
LONGEST_SECONDS=180
"$(dirname "$0")/lib/slow-network.sh" 1 1 1gbit true # or ends here, and says why
. "$(dirname "$0")/lib/begin.sh" slow-link.jsonl
export OMP_NUM_THREADS=1

secrets=$(mktemp -d)
trap 'rm -rf "$secrets"' EXIT
export PHALANX_TOKEN_FILE="$secrets/token"

measure() { # PEER HOSTS RANKS_PER_HOST GBIT COMMAND...
  local peer=$1 hosts=$2 ranks=$3 gbit=$4 log="$secrets/log"
  shift 4
  if ! timeout --foreground "$LONGEST_SECONDS" "$HERE/lib/slow-network.sh" "$hosts" "$ranks" "${gbit}gbit" "$@" 2>"$log" |
    sed "s/^{/{\"peer\": \"$peer\", \"hosts\": $hosts, \"ranks_per_host\": $ranks, \"gbit\": $gbit, /" >>"$OUT"; then
    cat "$log" >&2
    echo "slow-link.sh: $peer has failed with $hosts hosts at $gbit Gbit/s, or taken more than $LONGEST_SECONDS s" >&2
    exit 1
  fi
}

for ((round = 1; round <= ROUNDS; round++)); do
  for shape in "2 2 1" "2 1 10" "4 1 1"; do
    read -r hosts ranks gbit <<<"$shape"
    rm -f "$PHALANX_TOKEN_FILE"
    ./phalanx token "$PHALANX_TOKEN_FILE"
    measure phalanx "$hosts" "$ranks" "$gbit" ./phalanx bench collectives --external --op all_reduce --sizes "$BYTES" --json
    measure gloo "$hosts" "$ranks" "$gbit" "$PYTHON" "$HERE/peers/collectives_gloo.py" external "$BYTES" all_reduce
  done
done

"$PYTHON" - "$OUT" <<'PY'
import json, sys
from statistics import median
cells = {}
for line in open(sys.argv[1]):
    row = json.loads(line)
    cell = cells.setdefault((row["hosts"], row["ranks_per_host"], row["gbit"], row["bytes"]), {})
    cell.setdefault(row["peer"], []).append(row["median_us"] / 1e3)
print("| hosts | ranks a host | link | the link's limit | Phalanx | gloo | Phalanx / limit | gloo / Phalanx |")
print("|---|---|---|---|---|---|---|---|")
for (hosts, ranks, gbit, size), cell in cells.items():
    limit = 2 * (hosts - 1) / hosts * size * 8 / (gbit * 1e9) * 1514 / 1448 * 1e3
    ours, gloo = median(cell["phalanx"]), median(cell["gloo"])
    print(f"| {hosts} | {ranks} | {gbit} Gbit/s | {limit:.0f} ms | {ours:.0f} ms | {gloo:.0f} ms | {ours / limit:.2f} | {gloo / ours:.2f} |")
PY
