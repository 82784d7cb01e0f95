package dev.phalanx.deeplearning4j;

import dev.phalanx.collectives.Communicator;
import dev.phalanx.collectives.ConnectedGroups;
import dev.phalanx.collectives.GroupOptions;
import dev.phalanx.collectives.ProcessGroups;
import dev.phalanx.collectives.TransportKind;
import dev.phalanx.collectives.rendezvous.RendezvousServer;
import dev.phalanx.collectives.security.Credentials;
import dev.phalanx.collectives.security.Encryption;
import dev.phalanx.collectives.security.JobToken;
import dev.phalanx.collectives.transport.shm.SharedMemoryEndpoint;
import java.io.File;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.deeplearning4j.datasets.iterator.ExistingDataSetIterator;
import org.deeplearning4j.nn.api.Model;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.deeplearning4j.optimize.api.BaseTrainingListener;
import org.deeplearning4j.util.ModelSerializer;
import org.nd4j.linalg.dataset.DataSet;

/** A rank in a process of its own, and the test's end of it. */
final class RankProcess {
  private static final Duration TIMEOUT = Duration.ofSeconds(60);
  private static final int KILLED = 137;

  private RankProcess() {}

  /** How a rank has ended. */
  record Ended(int status, String output) {}

  static MultiLayerNetwork network() {
    return Networks.convolutional(builder -> builder);
  }

  static List<DataSet> batches() {
    return Networks.images(8, 7, 8);
  }

  /**
   * Starts two ranks and waits for their end.
   *
   * @param folder for checkpoints, every second iteration, and networks
   * @param epochs in all
   * @param killed the rank that dies after the fifth iteration; -1: none
   */
  static List<Ended> runTwo(Path folder, TransportKind transport, int epochs, int killed)
      throws Exception {
    JobToken token = JobToken.random();
    List<Process> processes = new ArrayList<>();
    try (RendezvousServer server =
        RendezvousServer.start(
            new InetSocketAddress(InetAddress.getLoopbackAddress(), 0),
            2,
            Credentials.of(token, Encryption.NONE),
            TIMEOUT)) {
      for (int rank = 0; rank < 2; rank++) {
        processes.add(start(folder, transport, epochs, killed, rank, server.port(), token));
      }
      List<Ended> ended = new ArrayList<>();
      for (int rank = 0; rank < 2; rank++) {
        if (!processes.get(rank).waitFor(2, TimeUnit.MINUTES)) {
          throw new IllegalStateException(
              "Rank " + rank + " does not end: " + output(folder, rank));
        }
        ended.add(new Ended(processes.get(rank).exitValue(), output(folder, rank)));
      }
      return ended;
    } finally {
      processes.forEach(Process::destroyForcibly);
      SharedMemoryEndpoint.cleanUp(token);
    }
  }

  private static String output(Path folder, int rank) throws Exception {
    return Files.readString(folder.resolve("rank-" + rank + ".log"));
  }

  private static Process start(
      Path folder,
      TransportKind transport,
      int epochs,
      int killed,
      int rank,
      int port,
      JobToken token)
      throws Exception {
    ProcessBuilder builder =
        new ProcessBuilder(
            Path.of(System.getProperty("java.home"), "bin", "java").toString(),
            "-Xmx512m",
            "-XX:TieredStopAtLevel=1",
            "-Dorg.bytedeco.javacpp.cachedir="
                + System.getProperty("org.bytedeco.javacpp.cachedir", defaultCache()),
            "-cp",
            System.getProperty("java.class.path"),
            RankProcess.class.getName(),
            folder.toString(),
            transport.name(),
            Integer.toString(epochs),
            Integer.toString(killed),
            Integer.toString(rank),
            Integer.toString(port));
    builder.environment().put("OMP_NUM_THREADS", "1");
    builder.environment().put("TOKEN", token.hex()); // a test's, worth nothing
    File log = folder.resolve("rank-" + rank + ".log").toFile();
    return builder.redirectErrorStream(true).redirectOutput(log).start();
  }

  private static String defaultCache() {
    return Path.of(System.getProperty("user.home"), ".javacpp", "cache").toString();
  }

  public static void main(String[] arguments) throws Exception {
    Path folder = Path.of(arguments[0]);
    int epochs = Integer.parseInt(arguments[2]);
    int killed = Integer.parseInt(arguments[3]);
    int rank = Integer.parseInt(arguments[4]);
    InetAddress loopback = InetAddress.getLoopbackAddress();
    ConnectedGroups.Joining joining =
        new ConnectedGroups.Joining(
            rank,
            2,
            "test",
            new InetSocketAddress(loopback, Integer.parseInt(arguments[5])),
            loopback,
            Credentials.of(JobToken.parse(System.getenv("TOKEN")), Encryption.NONE),
            TransportKind.valueOf(arguments[1]));
    MultiLayerNetwork network = network();
    TrainingOptions options =
        TrainingOptions.DEFAULT.withCheckpoints(folder.resolve("checkpoints"), 2, 2);
    try (ProcessGroups job = ConnectedGroups.join(joining, GroupOptions.withTimeout(TIMEOUT));
        Communicator world = job.world();
        DataParallelNetwork<MultiLayerNetwork> parallel =
            DataParallelNetwork.of(network, world, options)) {
      System.out.println("shared memory: " + parallel.sharesMemory());
      if (rank == killed) {
        dieAfter(parallel, 5);
      }
      parallel.resume(folder.resolve("checkpoints"));
      System.out.println("begins at iteration " + network.getIterationCount());
      parallel.fit(new ExistingDataSetIterator(batches()), epochs - network.getEpochCount());
      ModelSerializer.writeModel(network, folder.resolve("network-" + rank).toFile(), true);
    }
    Runtime.getRuntime().halt(0); // no hook of a library's holds the test up
  }

  /** Listeners are rank 0's as a rule; this one stands for a machine that fails. */
  private static void dieAfter(DataParallelNetwork<MultiLayerNetwork> parallel, int iterations) {
    parallel
        .network()
        .setListeners(
            new BaseTrainingListener() {
              @Override
              public void iterationDone(Model model, int iteration, int epoch) {
                if (iteration + 1 == iterations) {
                  Runtime.getRuntime().halt(KILLED);
                }
              }
            });
  }
}
