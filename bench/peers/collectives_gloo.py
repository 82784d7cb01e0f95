"""Times torch.distributed's gloo backend as `phalanx bench collectives --json` times ours.

usage: collectives_gloo.py RANKS SIZES OPERATIONS    (lists with commas, sizes in bytes)
One JSON line a measurement. A sample is the mean of some calls behind a barrier on the slowest rank; the median counts.
"""
import json
import multiprocessing
import os
import socket
import sys
import time


def calls_of(operation, distributed, whole, part):
    return {
        "all_reduce": lambda: distributed.all_reduce(whole),
        "reduce_scatter": lambda: distributed.reduce_scatter_tensor(part, whole),
        "all_gather": lambda: distributed.all_gather_into_tensor(whole, part),
        "broadcast": lambda: distributed.broadcast(whole, 0),
    }[operation]


def run_rank(rank, ranks, sizes, operations):
    import torch
    import torch.distributed as distributed

    torch.set_num_threads(1)
    distributed.init_process_group("gloo", rank=rank, world_size=ranks)
    for operation in operations:
        for size in sizes:
            part = torch.zeros(size // 4 // ranks)
            whole = torch.zeros(part.numel() * ranks)
            call = calls_of(operation, distributed, whole, part)
            calls = max(1, min(20, (1 << 20) // size))
            samples = []
            for sample in range(-3, 100 if size <= 1 << 20 else 15):
                distributed.barrier()
                start = time.perf_counter()
                for _ in range(calls):
                    call()
                if sample >= 0:
                    samples.append((time.perf_counter() - start) / calls * 1e6)
            slowest = torch.tensor(samples, dtype=torch.float64)
            distributed.all_reduce(slowest, op=distributed.ReduceOp.MAX)
            median = sorted(slowest.tolist())[len(samples) // 2]
            if rank == 0:
                print(json.dumps({"op": operation, "bytes": size, "ranks": ranks, "transport": "gloo", "median_us": round(median, 1)}), flush=True)
    distributed.destroy_process_group()


if __name__ == "__main__":
    ranks = int(sys.argv[1])
    sizes = [int(size) for size in sys.argv[2].split(",")]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), GLOO_SOCKET_IFNAME="lo", OMP_NUM_THREADS="1")
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=run_rank, args=(rank, ranks, sizes, sys.argv[3].split(","))) for rank in range(ranks)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    sys.exit(max(abs(process.exitcode) for process in processes))
