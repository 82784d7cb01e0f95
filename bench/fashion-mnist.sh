#!/usr/bin/env bash
# LeNet learns Fashion-MNIST with several threads: accuracy after each epoch, and a drawing of the curve and the confusion matrix.
#   bench/fashion-mnist.sh DATA [WORKERS] [EPOCHS] [SVG]
# DATA is the folder of the four idx files, as Debian's package has them:
#   apt-get download dataset-fashion-mnist && dpkg-deb -x dataset-fashion-mnist_*.deb fashion
#   bench/fashion-mnist.sh fashion/usr/share/datasets/fashion-mnist
# One JSON line an epoch goes to bench/results/fashion-mnist.jsonl and to standard output.
set -euo pipefail
DATA="$(readlink -f "${1:?usage: bench/fashion-mnist.sh DATA [WORKERS] [EPOCHS] [SVG]}")"
WORKERS="${2:-2}"
EPOCHS="${3:-6}"
. "$(dirname "$0")/lib/begin.sh" fashion-mnist.jsonl
. bench/lib/deeplearning4j.sh
deeplearning4j FashionMnist "$DATA" "$WORKERS" "$EPOCHS" "${4:-runs/bench/fashion-mnist.svg}" | tee "$OUT"
