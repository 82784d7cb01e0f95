package dev.phalanx.launcher.local;

import dev.phalanx.launcher.event.Assignment;
import dev.phalanx.launcher.process.Orphans;
import dev.phalanx.launcher.process.WorkerSpec;
import dev.phalanx.launcher.worker.WorkerMain;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;

/**
 * The command line and environment of worker processes: the launcher's own JVM and class path, a
 * worker's flags.
 */
final class WorkerCommands {
  private static final int MEBIBYTES_OF_HEAP_PER_RANK = 1024;
  private static final String KEPT_BYTES = Long.toString(256L << 20);
  private static final String OWN_OPTIONS = "PHALANX_WORKER_JAVA_OPTIONS";

  /** Stands for a worker's first rank, so that each can write a file of its own. */
  private static final String RANK_IN_OPTIONS = "{rank}";

  /**
   * What worker processes are started with.
   *
   * @param placement which ranks they run
   * @param engine what its libraries are loaded for at once
   * @param memoryFlags of the JVM, which say who frees native memory
   * @param threadsPerRank threads that one kernel of one rank may use
   */
  record Settings(
      Placement placement,
      boolean isVerbose,
      String engine,
      List<String> memoryFlags,
      int threadsPerRank) {}

  /** Tensors are freed by their arena, never by the garbage collector. */
  static final List<String> ARENAS =
      List.of(
          "-Dorg.bytedeco.javacpp.nopointergc=true",
          "-Dorg.bytedeco.javacpp.maxbytes=0",
          "-Dorg.bytedeco.javacpp.maxphysicalbytes=0");

  private final Settings job;
  private final Assignment.Task task;

  WorkerCommands(Settings settings, Assignment.Task task) {
    this.job = settings;
    this.task = task;
  }

  /** One for each worker of the placement. */
  List<WorkerSpec> specs() {
    List<String> waking = Orphans.waking();
    return job.placement().workers().stream()
        .map(ranks -> new WorkerSpec(ranks, command(waking, ranks), environment(ranks)))
        .toList();
  }

  private List<String> command(List<String> waking, List<Integer> ranks) {
    List<String> command = new ArrayList<>(waking);
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    // Two small heaps beside large native tensors: the serial collector starts fastest and keeps
    // least.
    command.add("-XX:+UseSerialGC");
    command.add("-Xms16m");
    command.add("-Xmx" + (long) MEBIBYTES_OF_HEAP_PER_RANK * ranks.size() + "m");
    if (task == Assignment.Task.TRAIN) {
      // The optimizing compiler would spend a third of the start on code that runs for a moment
      // only. What a benchmark measures must be compiled first.
      command.add("-XX:CompileThresholdScaling=5");
    }
    // Netty's flight-recorder events load the recorder in every process, whether it records or not.
    command.add("-Dio.netty.jfr.enabled=false");
    command.addAll(commonFlags());
    command.addAll(job.memoryFlags());
    command.add("-Dorg.slf4j.simpleLogger.defaultLogLevel=" + (job.isVerbose() ? "info" : "warn"));
    String options = System.getenv(OWN_OPTIONS);
    if (options != null && !options.isBlank()) {
      String firstRank = ranks.get(0).toString();
      command.addAll(List.of(options.trim().replace(RANK_IN_OPTIONS, firstRank).split("\\s+")));
    }
    command.add("-cp");
    command.add(System.getProperty("java.class.path"));
    command.add(WorkerMain.class.getName());
    if (task == Assignment.Task.TRAIN) { // a benchmark has no tensors
      command.add(job.engine());
      command.add(Integer.toString(job.threadsPerRank()));
    }
    return command;
  }

  private static List<String> commonFlags() {
    List<String> flags = new ArrayList<>();
    flags.add("-Xshare:auto");
    // Standard output is the channel of events: the JVM's own warnings belong on standard error.
    flags.add("-XX:+DisplayVMOutputToStderr");
    flags.add("-Xlog:disable");
    flags.add("-Xlog:all=error:stderr");
    classDataArchive().ifPresent(archive -> flags.add("-XX:SharedArchiveFile=" + archive));
    int version = Runtime.version().feature();
    if (version >= 22) {
      flags.add("--enable-native-access=ALL-UNNAMED");
    }
    if (version >= 23) {
      flags.add("--sun-misc-unsafe-memory-access=allow");
    }
    return flags;
  }

  /**
   * Classes as the JVM keeps them in memory, written when Phalanx was built: they make a worker
   * start faster.
   */
  private static Optional<Path> classDataArchive() {
    return Optional.ofNullable(System.getProperty("phalanx.archive"))
        .map(Path::of)
        .filter(Files::isReadable);
  }

  /** Names of torchrun's, which a user's data loader may ask for, and what libraries look at. */
  private Map<String, String> environment(List<Integer> ranks) {
    String threads = Integer.toString(job.threadsPerRank());
    Map<String, String> environment = new TreeMap<>();
    Placement placement = job.placement();
    environment.put("WORLD_SIZE", Integer.toString(placement.worldSize()));
    environment.put("LOCAL_WORLD_SIZE", Integer.toString(placement.localWorldSize()));
    environment.put("MASTER_ADDR", placement.master().getAddress().getHostAddress());
    environment.put("MASTER_PORT", Integer.toString(placement.master().getPort()));
    if (ranks.size() == 1) {
      int rank = ranks.get(0);
      environment.put("RANK", Integer.toString(rank));
      environment.put("LOCAL_RANK", Integer.toString(placement.localRank(rank)));
    }
    environment.put("OMP_NUM_THREADS", threads);
    // LibTorch's and OpenBLAS' threads take turns on the same cores: whoever waits must not spin.
    environment.put("OMP_WAIT_POLICY", "PASSIVE");
    keepUnlessSet(environment, "MALLOC_ARENA_MAX", Integer.toString(Math.max(2, ranks.size())));
    // A step asks for the same blocks as the one before: giving them back costs a page fault for
    // each page.
    keepUnlessSet(environment, "MALLOC_TRIM_THRESHOLD_", KEPT_BYTES);
    keepUnlessSet(environment, "MALLOC_MMAP_THRESHOLD_", KEPT_BYTES);
    return environment;
  }

  private static void keepUnlessSet(Map<String, String> environment, String name, String value) {
    if (System.getenv(name) == null) {
      environment.put(name, value);
    }
  }
}
