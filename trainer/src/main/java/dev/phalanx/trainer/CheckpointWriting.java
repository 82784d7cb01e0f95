package dev.phalanx.trainer;

import dev.phalanx.checkpoint.CheckpointSaver;
import dev.phalanx.checkpoint.CheckpointWriteException;
import dev.phalanx.checkpoint.LocalCheckpointStore;
import dev.phalanx.collectives.CollectiveException;
import dev.phalanx.collectives.Communicator;
import dev.phalanx.collectives.ReduceOperation;
import dev.phalanx.collectives.rendezvous.HostName;
import dev.phalanx.tensor.Tensor;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.function.LongFunction;
import org.jspecify.annotations.Nullable;

/**
 * How ranks wait together for the checkpoint that rank 0 writes. A large one may take longer than
 * they wait for each other, so meanwhile they hear from each other; and where it could not be
 * written, every rank hears why.
 *
 * <pre>
 *   rank 0   WRITING   WRITING   NOT_WRITTEN   its words     throws CheckpointWriteException
 *   others   WRITTEN   WRITTEN   WRITTEN            |        throw RankZeroWriteException
 *            -------   -------   -----------        v
 *   least:   WRITING   WRITING   NOT_WRITTEN    broadcast
 * </pre>
 *
 * <p>Thread: the one that calls the communicator's operations.
 */
public final class CheckpointWriting {
  private static final byte NOT_WRITTEN = 0; // in this order: the least of all ranks counts
  private static final byte WRITING = 1;
  private static final byte WRITTEN = 2;

  private static final Duration LONGEST_CLAIM = Duration.ofSeconds(10);

  private final Communicator world;
  private final LongFunction<Tensor> hostBytes;
  private final @Nullable CheckpointSaver saver;
  private final Duration betweenSigns;

  /**
   * @param world all ranks
   * @param hostBytes makes tensors [n] UINT8 in host memory, which are closed after use
   * @param saver on rank 0, where it saves at all; null on the others
   * @param betweenSigns how long ranks hear nothing of each other, well below the communicator's
   *     timeout
   */
  public CheckpointWriting(
      Communicator world,
      LongFunction<Tensor> hostBytes,
      @Nullable CheckpointSaver saver,
      Duration betweenSigns) {
    this.world = world;
    this.hostBytes = hostBytes;
    this.saver = saver;
    this.betweenSigns = betweenSigns;
  }

  /**
   * Keeps other jobs from writing to a folder of checkpoints until it is closed. A job that was
   * just stopped and is still going is given a moment.
   *
   * @throws dev.phalanx.checkpoint.FolderInUseException where another one writes there
   * @throws CheckpointWriteException where nobody can
   */
  public void claim(LocalCheckpointStore store) throws InterruptedException {
    String host = HostName.own().map(name -> " on host " + name).orElse("");
    store.claim(
        "process " + ProcessHandle.current().pid() + host,
        betweenSigns.compareTo(LONGEST_CLAIM) < 0 ? betweenSigns : LONGEST_CLAIM);
  }

  /**
   * Waits until rank 0 has written what is under way. All ranks call it together.
   *
   * @throws CheckpointWriteException on rank 0, where it could not be written
   * @throws RankZeroWriteException on the others then
   */
  public void awaitWritten() throws InterruptedException {
    byte least;
    do {
      boolean isWritten;
      try {
        isWritten = saver == null || saver.awaitDone(betweenSigns);
      } catch (CheckpointWriteException e) {
        throw told(e);
      }
      least = leastOfAllRanks(isWritten ? WRITTEN : WRITING);
    } while (least == WRITING);
    if (least == NOT_WRITTEN) {
      throw new RankZeroWriteException(broadcast(""));
    }
  }

  /**
   * Tells the other ranks, which are in {@link #awaitWritten}, why rank 0 does not write. They may
   * be gone: what could not be written is the news, whether they hear it or not.
   *
   * @return the failure, for rank 0 to throw
   */
  public CheckpointWriteException told(CheckpointWriteException failure)
      throws InterruptedException {
    try {
      leastOfAllRanks(NOT_WRITTEN);
      broadcast(String.valueOf(failure.getMessage()));
    } catch (CollectiveException e) {
      failure.addSuppressed(e);
    }
    return failure;
  }

  private byte leastOfAllRanks(byte own) throws InterruptedException {
    try (Tensor vote = hostBytes.apply(1)) {
      elements(vote).put(0, own);
      world.allReduce(vote, ReduceOperation.MINIMUM).await();
      return elements(vote).get(0);
    }
  }

  /** Rank 0's words, on every rank. */
  private String broadcast(String own) throws InterruptedException {
    byte[] words = own.getBytes(StandardCharsets.UTF_8);
    int length;
    try (Tensor count = hostBytes.apply(Integer.BYTES)) {
      elements(count).putInt(0, words.length);
      world.broadcast(count, 0).await();
      length = elements(count).getInt(0);
    }
    try (Tensor text = hostBytes.apply(length)) {
      if (world.rank() == 0) {
        elements(text).put(words);
      }
      world.broadcast(text, 0).await();
      return StandardCharsets.UTF_8.decode(elements(text)).toString();
    }
  }

  private static ByteBuffer elements(Tensor bytes) {
    return bytes.byteBuffer(0, Math.toIntExact(bytes.byteSize()));
  }
}
