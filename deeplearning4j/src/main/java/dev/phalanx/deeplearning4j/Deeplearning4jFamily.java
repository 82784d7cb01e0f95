package dev.phalanx.deeplearning4j;

import com.sun.management.OperatingSystemMXBean;
import dev.phalanx.tensor.Arena;
import dev.phalanx.tensor.Device;
import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.EngineOptions;
import dev.phalanx.tensor.Engines;
import dev.phalanx.trainer.FamilyRehearsal;
import dev.phalanx.trainer.JobListener;
import dev.phalanx.trainer.JobResult;
import dev.phalanx.trainer.ModelFamily;
import dev.phalanx.trainer.RankContext;
import dev.phalanx.trainer.TrainingLoop;
import dev.phalanx.trainer.config.JobConfig;
import dev.phalanx.trainer.config.ParsedPlan;
import dev.phalanx.trainer.rehearsal.RehearsalGroups;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import org.nd4j.linalg.factory.Nd4j;
import org.nd4j.nativeblas.NativeOpsHolder;

/**
 * Networks of Deeplearning4j as models of a plan file:
 *
 * <pre>
 *   model.path -> network of every rank;  data -> samples, held-out samples
 *   step       -> this rank's share of the batch -> {@link DataParallelNetwork}
 * </pre>
 */
public final class Deeplearning4jFamily implements ModelFamily {
  /** Knows which of ND4J's builds this machine can run. */
  private static final String ENGINE = "nd4j";

  @Override
  public String name() {
    return "deeplearning4j";
  }

  @Override
  public String engine() {
    return ENGINE;
  }

  /**
   * ND4J's arrays are freed by the garbage collector, which is called where JavaCPP has handed out
   * as much as this: most of the host's memory, divided among its workers.
   */
  @Override
  public List<String> memoryFlags(int workers) {
    long bytes = hostBytes() / 10 * 8 / workers;
    return List.of(
        "-Dorg.bytedeco.javacpp.maxbytes=" + bytes, "-Dorg.bytedeco.javacpp.maxphysicalbytes=0");
  }

  private static long hostBytes() {
    return ManagementFactory.getPlatformMXBean(OperatingSystemMXBean.class).getTotalMemorySize();
  }

  @Override
  public void check(ParsedPlan plan, Path baseDirectory) throws IOException {
    NetworkFile.of(plan.config(), baseDirectory).check();
    NetworkData.open(plan.config(), baseDirectory);
  }

  @Override
  public JobResult train(
      JobConfig job, RankContext context, JobListener listener, Optional<Path> resumeFrom)
      throws InterruptedException, IOException {
    return open(
        job,
        context,
        listener,
        (training, engine, host) -> {
          long done = training.restore(resumeFrom);
          return TrainingLoop.run(
              job, context, listener, host, training, training.summary(engine, done));
        });
  }

  @Override
  public FamilyRehearsal rehearse(JobConfig job, Path baseDirectory, int worldSize)
      throws InterruptedException, IOException {
    RehearsalGroups ranks = RehearsalGroups.alike(0, worldSize);
    RankContext context =
        new RankContext(
            0, worldSize, 0, worldSize, ranks, ranks.world(), 1, baseDirectory, () -> false);
    return open(job, context, JobListener.NONE, (training, engine, host) -> training.rehearse());
  }

  /** What is done with a network that is ready to be trained. */
  @FunctionalInterface
  private interface Use<T> {
    T of(NetworkTraining training, Engine engine, Arena host)
        throws InterruptedException, IOException;
  }

  private static <T> T open(JobConfig job, RankContext context, JobListener listener, Use<T> use)
      throws InterruptedException, IOException {
    EngineOptions options = new EngineOptions(context.threads());
    // Before ND4J itself, which would take a build that this machine may not be able to run.
    try (Engine engine = Engines.open(ENGINE, options);
        Arena host = new Arena(engine, Device.CPU)) {
      Nd4j.getMemoryManager().togglePeriodicGc(false); // steps free what they read
      NetworkData data = NetworkData.open(job, context.baseDirectory());
      String kernels = job.engine() == JobConfig.EngineKind.AUTO ? ENGINE : job.engine().label();
      try (NetworkTraining training =
          new NetworkTraining(
              job,
              context,
              listener,
              NetworkFile.of(job, context.baseDirectory()).open(),
              data,
              () -> Engines.open(kernels, options))) {
        computeWith(context.threads());
        return use.of(training, engine, host);
      }
    }
  }

  /**
   * Layers compute on ND4J, which divides its operations among threads itself: those of this thread
   * by OpenMP, products by OpenBLAS. Engines divide their kernels, and have set both to one.
   */
  static void computeWith(int threads) {
    NativeOpsHolder.getInstance().getDeviceNativeOps().setOmpNumThreads(threads);
    Nd4j.factory().blas().setMaxThreads(threads);
  }
}
