package dev.phalanx.trainer;

import dev.phalanx.tensor.Device;
import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.EngineNotFoundException;
import dev.phalanx.trainer.config.JobConfig.DeviceKind;

/** Which device a rank computes on. */
public final class Devices {
  private Devices() {}

  /**
   * The device that a plan asks for: a host's ranks take its accelerators in order, one each. With
   * {@code auto} the accelerators are taken where there are any, else the CPU.
   *
   * @param localRank this rank's number on its host
   * @throws EngineNotFoundException where there is no such device, or fewer than ranks
   */
  public static Device choose(Engine engine, DeviceKind wanted, int localRank) {
    Device first = new Device(Device.Kind.CUDA, 0);
    if (wanted == DeviceKind.CPU || (wanted == DeviceKind.AUTO && !engine.supports(first))) {
      return Device.CPU;
    }
    Device own = new Device(Device.Kind.CUDA, localRank);
    if (!engine.supports(own)) {
      throw new EngineNotFoundException(
          "Rank "
              + localRank
              + " of this host wants the device "
              + own
              + ", which "
              + engine.description()
              + " cannot use here. Start at most one worker for each accelerator, or write 'device:"
              + " cpu'.");
    }
    return own;
  }
}
