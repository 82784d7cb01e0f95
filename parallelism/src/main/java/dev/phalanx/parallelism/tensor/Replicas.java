package dev.phalanx.parallelism.tensor;

import dev.phalanx.tensor.autograd.Partition;
import java.util.Optional;

/**
 * The ranks along the expert axis, which have the same part of everything but experts, and each its
 * own tokens: every gradient of what they share is a part of a sum over them.
 *
 * @param index of this rank among them
 * @param size how many they are
 */
public record Replicas(int index, int size) {
  public static final Replicas NONE = new Replicas(0, 1);

  /** What {@link Partition.Copies} call these ranks. */
  public static final String COPIES = "expert";

  /**
   * What they call a group whose copies must be added up over these ranks too.
   *
   * @param group without them
   */
  public static String joined(String group) {
    return group + "_and_" + COPIES;
  }

  Partition of(Partition own) {
    return size == 1 ? own : own.withCopies(copies -> Optional.of(of(copies)));
  }

  /** One more axis of copies: of a sum over two axes each rank has a part, else over this one. */
  private Partition.Copies of(Optional<Partition.Copies> present) {
    if (present.isEmpty()) {
      return new Partition.Copies(COPIES, index, true, false);
    }
    Partition.Copies copies = present.get();
    return new Partition.Copies(
        copies.isPartial() ? joined(copies.group()) : COPIES,
        copies.index() * size + index,
        true,
        copies.isApart());
  }
}
