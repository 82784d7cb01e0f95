package dev.phalanx.trainer;

import dev.phalanx.tensor.Arena;
import dev.phalanx.tensor.Device;
import dev.phalanx.tensor.Engine;

/**
 * A rank's memory, by where it lies and how long what is in it lives.
 *
 * @param state on the rank's device, for what lives as long as the job
 * @param step on the rank's device, for what lives for a micro-batch
 * @param host on the CPU, for what ranks tell each other and what the host reads
 */
record Arenas(Arena state, Arena step, Arena host) implements AutoCloseable {
  static Arenas open(Engine engine, Device device) {
    return new Arenas(
        new Arena(engine, device), new Arena(engine, device), new Arena(engine, Device.CPU));
  }

  Engine engine() {
    return state.engine();
  }

  Device device() {
    return state.device();
  }

  /** Waits for the device first: copies to the host may be under way. */
  @Override
  public void close() {
    engine().synchronize(device());
    step.close();
    state.close();
    host.close();
  }
}
