#!/usr/bin/env bash
# Collectives between processes of this host, over shared memory, TCP and gRPC: ours, gloo's and, where it is there, Open MPI's, in turn.
#   bench/collectives.sh PYTHON [ROUNDS] [OPERATIONS]
# PYTHON has torch and numpy. Open MPI needs mpirun (Debian: openmpi-bin), and mpi4py and numpy in PYTHON or in another Python
# that MPI_PYTHON names. One JSON line a measurement goes to bench/results/collectives.jsonl (an earlier file is kept as .old),
# and a Markdown table of medians to standard output. TRANSPORTS leaves out some of shm, tcp and grpc.
set -euo pipefail
PYTHON="${1:?usage: bench/collectives.sh PYTHON [ROUNDS] [OPERATIONS]}"
ROUNDS="${2:-3}"
OPERATIONS="${3:-all_reduce,reduce_scatter,all_gather}"
MPI_PYTHON="${MPI_PYTHON:-$PYTHON}"
TRANSPORTS="${TRANSPORTS:-shm tcp grpc}"
SIZES=4096,1048576,67108864
. "$(dirname "$0")/lib/begin.sh" collectives.jsonl

ours() { # TRANSPORT RANKS
  ./phalanx bench collectives --json --ranks "$2" --transport "$1" --op "$OPERATIONS" --sizes "$SIZES" >>"$OUT"
}

gloo() { # RANKS
  "$PYTHON" "$HERE/peers/collectives_gloo.py" "$1" "$SIZES" "$OPERATIONS" 2>/dev/null >>"$OUT"
}

# Not bound to cores, as the others are not either.
mpi() { # TRANSPORT RANKS MPIRUN_OPTION...
  local transport=$1 ranks=$2
  shift 2
  [ "$(id -u)" != 0 ] || set -- --allow-run-as-root "$@"
  OMP_NUM_THREADS=1 mpirun -n "$ranks" --oversubscribe --bind-to none "$@" \
    "$MPI_PYTHON" "$HERE/peers/collectives_mpi.py" "mpi-$transport" "$SIZES" "$OPERATIONS" 2>/dev/null >>"$OUT"
}

has_mpi=true
if ! command -v mpirun >/dev/null || ! "$MPI_PYTHON" -c 'import mpi4py.MPI, numpy' 2>/dev/null; then
  has_mpi=false
  echo "collectives.sh: Open MPI is left out, for there is no mpirun or $MPI_PYTHON has no mpi4py" >&2
fi

for ((round = 1; round <= ROUNDS; round++)); do
  for ranks in 2 4; do
    for transport in $TRANSPORTS; do ours "$transport" "$ranks"; done
    gloo "$ranks"
    if $has_mpi && [[ $TRANSPORTS == *shm* ]]; then mpi shm "$ranks"; fi
    if $has_mpi && [[ $TRANSPORTS == *tcp* ]]; then
      mpi tcp "$ranks" --mca pml ob1 --mca btl tcp,self --mca btl_tcp_if_include lo
    fi
  done
done

"$PYTHON" - "$OUT" <<'PY'
import json, sys
from statistics import median
cells = {}
for line in open(sys.argv[1]):
    row = json.loads(line)
    cells.setdefault((row["op"], row["ranks"], row["bytes"]), {}).setdefault(row["transport"], []).append(row["median_us"])
text = lambda micros: f"{micros / 1e3:.1f} ms" if micros >= 1e4 else f"{micros:.0f} µs" if micros >= 100 else f"{micros:.1f} µs"
names = {"shm": "shared memory", "tcp": "TCP", "grpc": "gRPC", "gloo": "gloo", "mpi-shm": "Open MPI shared memory", "mpi-tcp": "Open MPI TCP"}
ratios = [("tcp", "grpc"), ("gloo", "shm"), ("gloo", "tcp"), ("mpi-shm", "shm"), ("mpi-tcp", "tcp")]
measured = {transport for cell in cells.values() for transport in cell}
names = {transport: name for transport, name in names.items() if transport in measured}
ratios = [(peer, ours) for peer, ours in ratios if {peer, ours} <= measured]
heads = ["operation", "ranks", "bytes", *names.values(), *(f"{names[peer]} / {names[ours]}" for peer, ours in ratios)]
print("| " + " | ".join(heads) + " |")
print("|---" * len(heads) + "|")
for (operation, ranks, size), cell in sorted(cells.items(), key=lambda item: (list("ar").index(item[0][0][0]), item[0])):
    micros = {transport: median(values) for transport, values in cell.items()}
    row = [operation, ranks, size, *(text(micros[transport]) for transport in names)]
    row += [f"{micros[peer] / micros[ours]:.1f}" for peer, ours in ratios]
    print("| " + " | ".join(map(str, row)) + " |")
PY
