package dev.phalanx.sharding.compression;

import dev.phalanx.collectives.Communicator;
import dev.phalanx.tensor.Arena;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Tensor;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * A sum over ranks that is encoded twice, once on the way to the rank that adds up a part and once
 * on the way back (Tang et al., 2019, "DoubleSqueeze"; its form as collectives is that of Wang et
 * al., 2023, "ZeRO++", section 3.3, and of Tang et al., 2021, "1-bit Adam", section 5):
 *
 * <pre>
 *   rank 0   | part 0 | part 1 | part 2 |    each rank encodes its own parts;
 *   rank 1   | part 0 | part 1 | part 2 |    all-to-all: rank i gets everybody's part i,
 *   rank 2   | part 0 | part 1 | part 2 |    decodes them, adds in FLOAT32, encodes the sum;
 *                |        |        |         all-gather: everybody gets all sums and decodes
 *              rank 0   rank 1   rank 2      the same bytes
 * </pre>
 *
 * <p>A message of c bytes for the whole bucket makes a rank send 2 (n - 1) / n c bytes. To gather
 * everybody's whole message would encode once only, but send (n - 1) c, as much for two ranks and n
 * / 2 times as much for n. A ring that adds up quantized values would quantize anew at each hop.
 *
 * <p>Both encodings have error feedback: what a message does not say of the gradients, and of the
 * sum of a part, is added in the next step. So over time nothing is lost:
 *
 * <pre>
 *   sum of what was applied + residuals of all ranks + residuals of all parts = sum of gradients
 * </pre>
 */
final class TwoWayReduction extends BucketReduction {
  private final PartCodec codec;
  private final long partElements;
  private final long partBytes;
  private final Tensor residual; // [elements]
  private final Tensor partResidual; // [elements / ranks, rounded up]
  private final Tensor messages; // [ranks * partBytes]: to all ranks, then from all
  private final Tensor ownMessage; // this rank's part of messages
  private final Tensor received; // [ranks * partBytes]
  private final HostMemory hostResidual;
  private final HostMemory hostPartResidual;
  private final HostMemory hostMessages;
  private final HostMemory hostReceived;

  TwoWayReduction(Arena arena, Communicator communicator, long elementCount, PartCodec codec) {
    super(arena, communicator, elementCount);
    this.codec = codec;
    this.partElements = (elementCount + ranks() - 1) / ranks();
    this.partBytes = codec.messageBytes(partElements);
    this.residual = arena.zeros(DType.FLOAT32, elementCount);
    this.partResidual = arena.zeros(DType.FLOAT32, partElements);
    // Messages of parts that are shorter than others have bytes that nobody reads.
    this.messages = arena.zeros(DType.UINT8, ranks() * partBytes);
    this.ownMessage = messages.slice(0, rank() * partBytes, partBytes);
    this.received = arena.allocate(DType.UINT8, ranks() * partBytes);
    this.hostResidual = new HostMemory(residual);
    this.hostPartResidual = new HostMemory(partResidual);
    this.hostMessages = new HostMemory(messages);
    this.hostReceived = new HostMemory(received);
  }

  @Override
  void encode(Tensor gradients, long step) {
    engine().addScaled(1, gradients, residual);
    synchronize();
    for (int part = 0; part < ranks(); part++) {
      codec.encode(
          hostResidual, first(part), count(part), hostMessages, part * partBytes, partElements);
    }
    allToAll(messages, received);
  }

  @Override
  void handOverSecond() throws InterruptedException {
    await();
    long ownCount = count(rank());
    for (int peer = 0; peer < ranks(); peer++) {
      codec.decodeAdding(
          hostReceived, peer * partBytes, partElements, hostPartResidual, 0, ownCount);
    }
    codec.encode(hostPartResidual, 0, ownCount, hostMessages, rank() * partBytes, partElements);
    allGather(ownMessage, messages);
  }

  @Override
  void decode(Tensor gradients) throws InterruptedException {
    engine().fill(gradients, 0);
    synchronize();
    await();
    HostMemory sums = new HostMemory(gradients);
    for (int part = 0; part < ranks(); part++) {
      codec.decodeAdding(
          hostMessages, part * partBytes, partElements, sums, first(part), count(part));
    }
  }

  private long first(int part) {
    return Math.min(part * partElements, elementCount());
  }

  private long count(int part) {
    return first(part + 1) - first(part);
  }

  @Override
  List<Tensor> residuals() {
    return List.of(residual, partResidual);
  }

  @Override
  public Map<String, Tensor> state() {
    Map<String, Tensor> state = new LinkedHashMap<>();
    state.put("residual", residual);
    state.put("part_residual", partResidual);
    return state;
  }
}
