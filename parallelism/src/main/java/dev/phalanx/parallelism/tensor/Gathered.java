package dev.phalanx.parallelism.tensor;

import dev.phalanx.collectives.device.DeviceCollectives;
import dev.phalanx.tensor.Tensor;
import dev.phalanx.tensor.autograd.Tape;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/** All rows of values, on their way where ranks have some of them each. */
final class Gathered implements AutoCloseable {
  private final TensorGroup group;
  private final Tensor all;
  private final boolean isOwn;
  private DeviceCollectives.Pending pending;

  private Gathered(
      TensorGroup group, Tensor all, boolean isOwn, DeviceCollectives.Pending pending) {
    this.group = group;
    this.all = all;
    this.isOwn = isOwn;
    this.pending = pending;
  }

  /** The values themselves where all rows are here. */
  static Gathered start(TensorGroup group, Tape tape, Tensor here) {
    if (!group.isSequenceParallel()) {
      return new Gathered(group, here, false, DeviceCollectives.DONE);
    }
    Tensor all = tape.allocate(here.dtype(), group.allRows(here.shape()));
    return new Gathered(group, all, true, group.startGather(here, all));
  }

  /**
   * Uses all rows.
   *
   * @param shared where they are on their way already; null: they are gathered for this use
   */
  static void use(
      TensorGroup group, Tape tape, Tensor here, @Nullable Gathered shared, Consumer<Tensor> use) {
    if (shared != null) {
      use.accept(shared.await());
      return;
    }
    try (Gathered own = start(group, tape, here)) {
      use.accept(own.await());
    }
  }

  Tensor await() {
    if (pending != DeviceCollectives.DONE) {
      group.await(pending);
      pending = DeviceCollectives.DONE;
    }
    return all;
  }

  @Override
  public void close() {
    if (isOwn) {
      await();
      all.close();
    }
  }
}
