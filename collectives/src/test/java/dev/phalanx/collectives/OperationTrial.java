package dev.phalanx.collectives;

import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.IntToDoubleFunction;

/**
 * One call of an operation by all ranks of a group, with values that tell ranks, elements and
 * trials apart, and what must come of it. Values are small whole numbers: sums are exact in every
 * type, so that the order of summation does not matter.
 *
 * @param count elements of a whole tensor, or of each rank's part where an operation has parts
 * @param root taken modulo the number of ranks
 * @param salt another one for each trial in a group
 */
record OperationTrial(
    Kind kind, DType dtype, ReduceOperation reduction, int count, int root, int salt) {
  /** The operations, some of them in several ways. */
  enum Kind {
    ALL_REDUCE,
    REDUCE,
    REDUCE_SCATTER,
    REDUCE_SCATTER_IN_PLACE,
    ALL_GATHER,
    ALL_GATHER_IN_PLACE,
    ALL_GATHER_UNEQUAL,
    GATHER,
    SCATTER,
    BROADCAST,
    ALL_TO_ALL,
    ALL_TO_ALL_UNEQUAL,
    EXCHANGE,
    BARRIER;

    /** How many times the count the longest tensor of a rank has, among so many ranks. */
    int tensorsPerRank(int size) {
      return switch (this) {
        case ALL_REDUCE, REDUCE, BROADCAST, EXCHANGE -> 1;
        case BARRIER -> 0;
        default -> size;
      };
    }
  }

  /** An operation under way on one rank, and the check of what it leaves there. */
  record Started(Work work, Runnable check) {}

  private static final double UNTOUCHED = 7;

  /** Values come again after so many elements. */
  private static final int PERIOD = 11;

  Started start(Communicator communicator) {
    return start(communicator, HostTensors.Memory.PRIVATE);
  }

  /**
   * @param memory of this rank, where its tensors lie
   */
  Started start(Communicator communicator, HostTensors.Memory memory) {
    return new OnRank(communicator, memory).start();
  }

  private double value(int rank, int index) {
    long number = (index * 7L + rank * 3L + salt * 5L) % PERIOD;
    return dtype == DType.UINT8 ? number : number - 5; // nine ranks make no more than 90
  }

  private double reduced(int size, int index) {
    double[] values = new double[size];
    Arrays.setAll(values, rank -> value(rank, index));
    double sum = Arrays.stream(values).sum();
    return switch (reduction) {
      case SUM -> sum;
      case AVERAGE -> dtype.isFloatingPoint() ? sum / size : (double) ((long) sum / size);
      case MINIMUM -> Arrays.stream(values).min().orElseThrow();
      case MAXIMUM -> Arrays.stream(values).max().orElseThrow();
    };
  }

  /** The largest relative error of one rounding. */
  private double tolerance() {
    return switch (dtype) {
      case BFLOAT16 -> 0x1p-8;
      case FLOAT16 -> 0x1p-11;
      case FLOAT32 -> 0x1p-22;
      case FLOAT64 -> 0x1p-51;
      case INT32, INT64, UINT8 -> 0;
    };
  }

  /** Elements of a rank's part of an unequal all-gather, some of none. */
  private int unequal(int rank) {
    return share(rank + salt, count);
  }

  /** Elements that one rank sends another in an unequal all-to-all. */
  private int unequal(int from, int to, int size) {
    return share(from * 3 + to * 5 + salt, count / size);
  }

  private static int share(int number, int most) {
    return switch (number % 4) {
      case 0 -> 0;
      case 1 -> most;
      case 2 -> Math.min(1, most);
      default -> most / 2;
    };
  }

  /** The trial as one rank sees it. */
  private final class OnRank {
    private final Communicator communicator;
    private final HostTensors.Memory memory;
    private final int rank;
    private final int size;
    private final int from;
    private final double[] reduced = new double[PERIOD];

    OnRank(Communicator communicator, HostTensors.Memory memory) {
      this.communicator = communicator;
      this.memory = memory;
      this.rank = communicator.rank();
      this.size = communicator.size();
      this.from = root % size;
      Arrays.setAll(reduced, i -> OperationTrial.this.reduced(size, i));
    }

    Started start() {
      return switch (kind) {
        case ALL_REDUCE -> allReduce();
        case REDUCE -> reduce();
        case REDUCE_SCATTER -> reduceScatter(false);
        case REDUCE_SCATTER_IN_PLACE -> reduceScatter(true);
        case ALL_GATHER -> allGather(false);
        case ALL_GATHER_IN_PLACE -> allGather(true);
        case ALL_GATHER_UNEQUAL -> allGatherUnequal();
        case GATHER -> gather();
        case SCATTER -> scatter();
        case BROADCAST -> broadcast();
        case ALL_TO_ALL -> allToAll();
        case ALL_TO_ALL_UNEQUAL -> allToAllUnequal();
        case EXCHANGE -> exchange();
        case BARRIER -> new Started(communicator.barrier(), () -> {});
      };
    }

    private Tensor own(int elements) {
      return HostTensors.of(memory, dtype, elements, i -> value(rank, i));
    }

    private Tensor untouched(int elements) {
      return HostTensors.of(memory, dtype, elements, i -> UNTOUCHED);
    }

    private double reduced(int index) {
      return reduced[index % PERIOD];
    }

    private Started allReduce() {
      Tensor tensor = own(count);
      return new Started(
          communicator.allReduce(tensor, reduction), () -> check(tensor, this::reduced));
    }

    private Started reduce() {
      Tensor tensor = own(count);
      return new Started(
          communicator.reduce(tensor, reduction, from),
          () -> check(tensor, i -> rank == from ? reduced(i) : value(rank, i)));
    }

    private Started reduceScatter(boolean inPlace) {
      Tensor input = own(count * size);
      Tensor output = inPlace ? input.slice(0, (long) count * rank, count) : untouched(count);
      return new Started(
          communicator.reduceScatter(input, output, reduction),
          () -> check(output, i -> reduced(rank * count + i)));
    }

    private Started allGather(boolean inPlace) {
      Tensor output = untouched(count * size);
      Tensor input = own(count);
      if (inPlace) {
        Tensor slice = output.slice(0, (long) count * rank, count);
        HostTensors.bytes(slice).put(HostTensors.bytes(input));
        input = slice;
      }
      return new Started(
          communicator.allGather(input, output),
          () -> check(output, i -> value(i / count, i % count)));
    }

    private Started allGatherUnequal() {
      long[] counts = new long[size];
      Arrays.setAll(counts, part -> unequal(part));
      Tensor input = own(unequal(rank));
      Tensor output = untouched((int) Arrays.stream(counts).sum());
      return new Started(
          communicator.allGather(input, output, counts),
          () -> checkParts(output, counts, (part, i) -> value(part, i)));
    }

    private Started gather() {
      Tensor input = own(count);
      Tensor output = untouched(count * size);
      return new Started(
          communicator.gather(input, rank == from ? output : null, from),
          () -> {
            check(input, i -> value(rank, i));
            check(output, i -> rank == from ? value(i / count, i % count) : UNTOUCHED);
          });
    }

    private Started scatter() {
      Tensor input = own(count * size);
      Tensor output = untouched(count);
      return new Started(
          communicator.scatter(rank == from ? input : null, output, from),
          () -> {
            check(input, i -> value(rank, i));
            check(output, i -> value(from, rank * count + i));
          });
    }

    private Started broadcast() {
      Tensor tensor = own(count);
      return new Started(
          communicator.broadcast(tensor, from), () -> check(tensor, i -> value(from, i)));
    }

    private Started allToAll() {
      Tensor input = own(count * size);
      Tensor output = untouched(count * size);
      return new Started(
          communicator.allToAll(input, output),
          () -> {
            check(input, i -> value(rank, i));
            check(output, i -> value(i / count, rank * count + i % count));
          });
    }

    private Started allToAllUnequal() {
      long[] inputCounts = new long[size];
      Arrays.setAll(inputCounts, to -> unequal(rank, to, size));
      long[] outputCounts = new long[size];
      Arrays.setAll(outputCounts, sender -> unequal(sender, rank, size));
      Tensor input = own((int) Arrays.stream(inputCounts).sum());
      Tensor output = untouched((int) Arrays.stream(outputCounts).sum());
      return new Started(
          communicator.allToAll(input, inputCounts, output, outputCounts),
          () -> checkParts(output, outputCounts, (sender, i) -> value(sender, before(sender) + i)));
    }

    /** Where in an unequal all-to-all the part for this rank begins in the sender's tensor. */
    private int before(int sender) {
      int start = 0;
      for (int to = 0; to < rank; to++) {
        start += unequal(sender, to, size);
      }
      return start;
    }

    /** To both neighbours on the ring, with two tags, and received in the other order. */
    private Started exchange() {
      List<PointToPoint> transfers = new ArrayList<>();
      List<Runnable> checks = new ArrayList<>();
      for (int distance = 1; distance < Math.min(3, size); distance++) {
        int next = (rank + distance) % size;
        int previous = (rank - distance + size) % size;
        for (int tag = 0; tag < 2; tag++) {
          int first = tag;
          Tensor received = untouched(count);
          transfers.add(0, new PointToPoint.Receive(received, previous, tag));
          transfers.add(
              new PointToPoint.Send(
                  HostTensors.of(memory, dtype, count, i -> value(rank, i + first)), next, tag));
          checks.add(() -> check(received, i -> value(previous, i + first)));
        }
      }
      return new Started(communicator.exchange(transfers), () -> checks.forEach(Runnable::run));
    }

    /** The value that an element of a part has. */
    private interface PartValue {
      double of(int part, int index);
    }

    private void checkParts(Tensor tensor, long[] counts, PartValue expected) {
      int start = 0;
      for (int part = 0; part < counts.length; part++) {
        int number = part;
        check(tensor.slice(0, start, counts[part]), i -> expected.of(number, i));
        start += (int) counts[part];
      }
    }

    private void check(Tensor tensor, IntToDoubleFunction expected) {
      double[] found = HostTensors.values(tensor);
      double tolerance = tolerance();
      for (int i = 0; i < found.length; i++) {
        double wanted = expected.applyAsDouble(i);
        if (!(Math.abs(found[i] - wanted) <= tolerance * Math.abs(wanted))) {
          throw new AssertionError(
              OperationTrial.this
                  + " on rank "
                  + rank
                  + "/"
                  + size
                  + ": element "
                  + i
                  + " of "
                  + found.length
                  + " is "
                  + found[i]
                  + " instead of "
                  + wanted);
        }
      }
    }
  }
}
