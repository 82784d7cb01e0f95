package dev.phalanx.trainer.model;

import dev.phalanx.tensor.Arena;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.Shape;
import dev.phalanx.tensor.Tensor;
import dev.phalanx.tensor.autograd.RotaryTable;
import dev.phalanx.tensor.autograd.Tape;
import dev.phalanx.tensor.autograd.Variable;
import java.util.ArrayList;
import java.util.List;

/**
 * The keys and values of the tokens that a model has read so far, so that generating a token costs
 * one token's work. One sequence; for inference tapes. The arena that is given owns the memory.
 */
public final class KeyValueCache {
  private final TransformerConfig config;
  private final List<Tensor> keys = new ArrayList<>(); // [1, capacity, g, c] for each layer
  private final List<Tensor> values = new ArrayList<>();
  private long length;

  /**
   * @param capacity tokens, at most the model's sequence
   */
  public KeyValueCache(Arena arena, TransformerConfig config, DType dtype, long capacity) {
    this.config = config;
    Shape shape = Shape.of(1, capacity, config.keyValueHeads(), config.headSize());
    for (int layer = 0; layer < config.layers(); layer++) {
      keys.add(arena.allocate(dtype, shape));
      values.add(arena.allocate(dtype, shape));
    }
  }

  /** Tokens read so far. */
  public long length() {
    return length;
  }

  /** Forgets everything. */
  public void clear() {
    length = 0;
  }

  void advance(long tokens) {
    length += tokens;
  }

  /**
   * Adds this pass's keys and values and attends to all so far: several tokens at the start, one at
   * a time after.
   */
  Variable attend(Tape tape, int layer, Variable packed, ForwardPass pass) {
    if (length > 0 && pass.length() != 1) {
      throw new IllegalArgumentException(
          "A cache that holds " + length + " tokens takes one at a time, not " + pass.length());
    }
    Engine engine = tape.engine();
    long heads = config.heads();
    long keyValueHeads = config.keyValueHeads();
    Tensor all =
        packed.value().reshape(1, pass.length(), heads + 2 * keyValueHeads, config.headSize());
    Tensor query = all.slice(2, 0, heads);
    Tensor key = all.slice(2, heads, keyValueHeads);
    RotaryTable rotary = pass.rotary();
    if (rotary != null) {
      engine.rotary(query, rotary.cosine(), rotary.sine(), false, query);
      engine.rotary(key, rotary.cosine(), rotary.sine(), false, key);
    }
    Tensor out = tape.allocate(packed.value().dtype(), Shape.of(pass.length(), config.hidden()));
    try (Tensor newKeys = keys.get(layer).slice(1, length, pass.length());
        Tensor newValues = values.get(layer).slice(1, length, pass.length());
        Tensor allKeys = keys.get(layer).slice(1, 0, length + pass.length());
        Tensor allValues = values.get(layer).slice(1, 0, length + pass.length());
        Tensor logSumExp = tape.allocate(DType.FLOAT32, Shape.of(1, heads, pass.length()))) {
      engine.copy(key, newKeys);
      engine.copy(all.slice(2, heads + keyValueHeads, keyValueHeads), newValues);
      engine.attention(
          query,
          allKeys,
          allValues,
          length == 0,
          1 / Math.sqrt((double) config.headSize()),
          out.reshape(1, pass.length(), heads, config.headSize()),
          logSumExp);
    }
    return tape.record(out, List.of(), List.of(), List.of(), List.of(), unused -> {});
  }
}
