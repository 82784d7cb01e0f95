package dev.phalanx.trainer.config;

import dev.phalanx.trainer.config.JobConfig.DeviceKind;
import dev.phalanx.trainer.config.JobConfig.EngineKind;
import dev.phalanx.trainer.config.JobConfig.Precision;
import dev.phalanx.trainer.config.JobConfig.Transport;
import java.util.EnumSet;
import java.util.Set;

/**
 * What the plan file has words for but this version cannot do: such a plan is refused instead of
 * run in another way than it says. Whoever adds a feature takes its line out here.
 */
final class FeatureAvailability {
  private static final Set<Transport> TRANSPORTS =
      EnumSet.of(Transport.AUTO, Transport.INPROCESS, Transport.SHM, Transport.TCP, Transport.GRPC);

  private final Problems problems;
  private final Positions positions;

  FeatureAvailability(Problems problems, Positions positions) {
    this.problems = problems;
    this.positions = positions;
  }

  void check(JobConfig config) {
    checkComputation(config);
    checkCommunication(config.communication());
    config.checkpoint().ifPresent(checkpoint -> checkStore(checkpoint.dir()));
  }

  /**
   * An address such as {@code hdfs://host/folder} names a store; one letter before the colon is a
   * drive.
   */
  private void checkStore(String directory) {
    if (directory.matches("[A-Za-z][A-Za-z0-9+.-]+:.*")) {
      String scheme = directory.substring(0, directory.indexOf(':'));
      problems.add(
          positions.of("checkpoint.dir"),
          "checkpoint.dir",
          "the store " + scheme + ": is not available in this version",
          "write the path of a folder");
    }
  }

  private void checkComputation(JobConfig config) {
    boolean isNd4jAskedForHalves =
        config.engine() == EngineKind.ND4J && config.precision() != Precision.FP32;
    require(
        !isNd4jAskedForHalves,
        "precision",
        "precision " + config.precision().label() + " on engine nd4j",
        "fp32");
    require(config.device() != DeviceKind.CUDA, "device", "device cuda", "auto");
  }

  private void checkCommunication(JobConfig.Communication communication) {
    Transport transport = communication.transport();
    require(
        TRANSPORTS.contains(transport),
        "communication.transport",
        "transport " + transport.label(),
        "auto");
  }

  private void require(boolean isAvailable, String keyPath, String feature, String instead) {
    if (!isAvailable) {
      String key = keyPath.substring(keyPath.lastIndexOf('.') + 1);
      problems.add(
          positions.of(keyPath),
          keyPath,
          feature + " is not available in this version",
          "write '" + key + ": " + instead + "'");
    }
  }
}
