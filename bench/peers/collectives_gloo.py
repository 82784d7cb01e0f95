"""Times torch.distributed's gloo backend as `phalanx bench collectives --json` times ours.

usage: collectives_gloo.py RANKS SIZES OPERATIONS    (lists with commas, sizes in bytes)
RANKS is how many processes to start on this host; with 'external' this is one rank, which torchrun's variables name. One JSON
line a measurement. A sample is the mean of some calls behind a barrier on the slowest rank; the median counts.
"""
import multiprocessing
import os
import socket
import sys

from collectives_timing import print_row, samples_of


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
            samples = samples_of(calls_of(operation, distributed, whole, part), distributed.barrier, size)
            slowest = torch.tensor(samples, dtype=torch.float64)
            distributed.all_reduce(slowest, op=distributed.ReduceOp.MAX)
            if rank == 0:
                print_row(operation, size, ranks, "gloo", slowest.tolist())
    distributed.destroy_process_group()


def start_ranks(ranks, sizes, operations):
    """Runs all ranks on this host; the largest of their exit statuses."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), GLOO_SOCKET_IFNAME="lo", OMP_NUM_THREADS="1")
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=run_rank, args=(rank, ranks, sizes, operations)) for rank in range(ranks)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return max(abs(process.exitcode) for process in processes)


if __name__ == "__main__":
    sizes = [int(size) for size in sys.argv[2].split(",")]
    operations = sys.argv[3].split(",")
    if sys.argv[1] == "external":
        run_rank(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), sizes, operations)
    else:
        sys.exit(start_ranks(int(sys.argv[1]), sizes, operations))
