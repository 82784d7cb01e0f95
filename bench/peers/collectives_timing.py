"""What the peers' collectives have in common: samples as `phalanx bench collectives` takes them, and a row of JSON."""
import json
import time

SMALL = 1 << 20


def samples_of(call, barrier, size):
    """Microseconds of a call: each sample the mean of some calls one after the other, behind a barrier."""
    calls = max(1, min(20, SMALL // size))
    samples = []
    for sample in range(-3, 100 if size <= SMALL else 15):
        barrier()
        start = time.perf_counter()
        for _ in range(calls):
            call()
        if sample >= 0:
            samples.append((time.perf_counter() - start) / calls * 1e6)
    return samples


def print_row(operation, size, ranks, transport, samples):
    """The median of samples, each already that of the slowest rank."""
    median = sorted(samples)[len(samples) // 2]
    row = {"op": operation, "bytes": size, "ranks": ranks, "transport": transport, "median_us": round(median, 1)}
    print(json.dumps(row), flush=True)
