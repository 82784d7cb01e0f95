# Sourced by the benchmarks: . begin.sh RESULTS
# Goes to the project's folder and builds where that is needed, so that no measurement does. OUT is bench/results/RESULTS, a new file
# (an earlier one is kept as .old), and HERE this folder's parent. Peers say nothing but their results.
HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
cd "$HERE/.."
OUT="$HERE/results/$1"
mkdir -p "$HERE/results" runs/bench
if [ -e "$OUT" ]; then mv "$OUT" "$OUT.old"; fi
export PYTHONWARNINGS=ignore TORCH_CPP_LOG_LEVEL=ERROR
./phalanx --version >/dev/null

# Steps of MODEL that are left out at the start of a run, ours and a peer's: while a JVM compiles what is hot, on the cores that also
# compute, its steps are slower, S's by up to a fifth.
warmup_of() {
  case "$1" in
    S) echo 20 ;;
    *) echo 4 ;;
  esac
}
