package dev.phalanx.sharding;

import dev.phalanx.collectives.Communicator;
import dev.phalanx.tensor.autograd.Parameter;
import dev.phalanx.tensor.autograd.Partition;
import java.util.ArrayList;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;

/**
 * How ranks divide each parameter of a model among them, for optimizers that look at whole
 * parameters. Each of these ranks may share what it has with shards; together they are the
 * parameters' holders.
 *
 * <pre>
 *   holders of a model that 2 ranks divide, with 3 shards of each half
 *
 *             shard 0   shard 1   shard 2
 *   part 0       0         1         2
 *   part 1       3         4         5
 * </pre>
 */
public final class Division {
  private final Communicator holders;
  private final Map<Parameter, List<Partition>> partitions = new IdentityHashMap<>();

  /**
   * @param holders all shards of the first part, then those of the next
   * @param parameters of this rank
   * @param parametersOfParts what the rank of each part has in their place, this rank's among it,
   *     in the same order
   * @throws IllegalArgumentException where ranks have parts of different shapes, which would lie
   *     differently in their memory
   */
  public Division(
      Communicator holders, List<Parameter> parameters, List<List<Parameter>> parametersOfParts) {
    this.holders = holders;
    for (int number = 0; number < parameters.size(); number++) {
      Parameter own = parameters.get(number);
      List<Partition> ofParts = new ArrayList<>();
      for (List<Parameter> ofPart : parametersOfParts) {
        Parameter other = ofPart.get(number);
        if (!other.name().equals(own.name()) || !other.shape().equals(own.shape())) {
          throw new IllegalArgumentException(
              "Ranks that divide " + own + " must have parts of one shape, not " + other);
        }
        ofParts.add(other.partition());
      }
      partitions.put(own, ofParts);
    }
  }

  Communicator holders() {
    return holders;
  }

  /** What the rank of each part has of a parameter of this rank. */
  List<Partition> partitionsOf(Parameter parameter) {
    List<Partition> ofParts = partitions.get(parameter);
    if (ofParts == null) {
      throw new IllegalArgumentException("Parameter " + parameter + " is not one of this model");
    }
    return ofParts;
  }
}
