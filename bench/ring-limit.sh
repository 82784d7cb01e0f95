#!/usr/bin/env bash
# All-reduce of 64 MiB over TCP on this host, ours beside the least that its ring takes, in turn.
#   bench/ring-limit.sh [ROUNDS]
# The least is a C program's (bench/peers/ring_limit.c, made with cc) that moves the same pieces through the same sockets. A Markdown
# table of medians in milliseconds goes to standard output; bench/results/ring-limit.txt has a line a measurement.
set -euo pipefail
ROUNDS="${1:-5}"
BYTES=67108864
. "$(dirname "$0")/lib/begin.sh" ring-limit.txt
LIMIT=runs/bench/ring_limit
cc -O3 -march=native -o "$LIMIT" "$HERE/peers/ring_limit.c"

measure() { # RANKS WHAT COMMAND...
  local ranks=$1 what=$2
  shift 2
  echo "$ranks $what $("$@")" >>"$OUT"
}

ours() { # RANKS
  ./phalanx bench collectives --quiet --op all_reduce --transport tcp --ranks "$1" --sizes "$BYTES" | awk 'END { printf "%.1f", $9 / 1000 }'
}

for ((round = 1; round <= ROUNDS; round++)); do
  for ranks in 2 4; do
    measure "$ranks" ours ours "$ranks"
    measure "$ranks" moved "$LIMIT" "$ranks" "$BYTES" moves plain
    measure "$ranks" added "$LIMIT" "$ranks" "$BYTES" adds plain
    measure "$ranks" checked "$LIMIT" "$ranks" "$BYTES" adds sums
  done
done

median() { # RANKS WHAT
  awk -v ranks="$1" -v what="$2" '$1 == ranks && $2 == what { print $3 }' "$OUT" | sort -n | awk '{ all[NR] = $1 } END { print all[int((NR + 1) / 2)] }'
}
echo "| ranks | ours | C: moved only | moved and added | with checksums |"
echo "|---|---|---|---|---|"
for ranks in 2 4; do
  echo "| $ranks | $(median "$ranks" ours) ms | $(median "$ranks" moved) ms | $(median "$ranks" added) ms | $(median "$ranks" checked) ms |"
done
