"""Times MPI's collectives through mpi4py as `phalanx bench collectives --json` times ours.

usage: mpirun -n RANKS PYTHON collectives_mpi.py NAME SIZES OPERATIONS    (lists with commas, sizes in bytes)
NAME stands for the transport in the rows. One JSON line a measurement, as of collectives_gloo.py.
"""
import sys

import numpy
from mpi4py import MPI

from collectives_timing import print_row, samples_of


def calls_of(operation, world, whole, part):
    return {
        "all_reduce": lambda: world.Allreduce(MPI.IN_PLACE, whole),
        "reduce_scatter": lambda: world.Reduce_scatter_block(whole, part),
        "all_gather": lambda: world.Allgather(part, whole),
        "broadcast": lambda: world.Bcast(whole, 0),
    }[operation]


def run_rank(world, name, sizes, operations):
    ranks = world.Get_size()
    for operation in operations:
        for size in sizes:
            part = numpy.zeros(size // 4 // ranks, numpy.float32)
            whole = numpy.zeros(part.size * ranks, numpy.float32)
            slowest = numpy.array(samples_of(calls_of(operation, world, whole, part), world.Barrier, size))
            world.Allreduce(MPI.IN_PLACE, slowest, op=MPI.MAX)
            if world.Get_rank() == 0:
                print_row(operation, size, ranks, name, slowest.tolist())


if __name__ == "__main__":
    run_rank(MPI.COMM_WORLD, sys.argv[1], [int(size) for size in sys.argv[2].split(",")], sys.argv[3].split(","))
