#!/usr/bin/env python3
"""What a training step of models S and M costs at least on this machine: the time of its linear layers' matrix products
alone, in PyTorch's BLAS, fp32. Attention, activations, norms and the optimizer come on top.

  limits_gemm.py [THREADS]
"""
import sys, time
import torch

torch.set_num_threads(int(sys.argv[1]) if len(sys.argv) > 1 else 1)


def seconds(a, b, out):
    torch.mm(a, b, out=out)
    times = []
    for _ in range(7):
        start = time.perf_counter()
        torch.mm(a, b, out=out)
        times.append(time.perf_counter() - start)
    return sorted(times)[3]


def products(tokens, inputs, outputs):
    """y = x W^T, dx = dy W, dW = dy^T x: seconds, floating-point operations."""
    x, w, dy = torch.rand(tokens, inputs), torch.rand(outputs, inputs), torch.rand(tokens, outputs)
    total = seconds(x, w.t(), torch.empty(tokens, outputs))
    total += seconds(dy, w, torch.empty(tokens, inputs))
    total += seconds(dy.t(), x, torch.empty(outputs, inputs))
    return total, 6 * tokens * inputs * outputs


for name, layers, hidden, tokens, vocabulary in (("S", 4, 256, 2048, 256), ("M", 6, 512, 2048, 8192)):
    layer = [products(tokens, i, o) for i, o in ((hidden, 3 * hidden), (hidden, hidden), (hidden, 4 * hidden), (4 * hidden, hidden))]
    head = products(tokens, hidden, vocabulary)
    total = layers * sum(s for s, _ in layer) + head[0]
    operations = layers * sum(f for _, f in layer) + head[1]
    print(f"model {name}: {operations / 1e9:.1f} GFLOP in {total * 1e3:.0f} ms, {operations / total / 1e9:.1f} GFLOP/s; "
          f"at most {tokens / total:.0f} tokens/s")
