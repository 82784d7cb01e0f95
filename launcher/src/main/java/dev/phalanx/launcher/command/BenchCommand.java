package dev.phalanx.launcher.command;

import com.fasterxml.jackson.databind.ObjectMapper;
import dev.phalanx.collectives.GroupOptions;
import dev.phalanx.collectives.algorithm.Algorithm;
import dev.phalanx.launcher.CommandException;
import dev.phalanx.launcher.ExitStatus;
import dev.phalanx.launcher.bench.BenchmarkOptions;
import dev.phalanx.launcher.bench.BenchmarkRow;
import dev.phalanx.launcher.bench.MeasuredOperation;
import dev.phalanx.launcher.local.LocalBenchmark;
import dev.phalanx.launcher.local.Placement;
import dev.phalanx.launcher.process.HostMemory;
import dev.phalanx.launcher.terminal.Console;
import dev.phalanx.tensor.DType;
import dev.phalanx.trainer.config.JobConfig;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.concurrent.Callable;
import java.util.concurrent.atomic.AtomicLong;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code phalanx bench}: measures parts of Phalanx on this machine. */
@Command(
    name = "bench",
    description = "Measures the collectives on this machine.",
    subcommands = BenchCommand.Collectives.class)
final class BenchCommand extends CommandGroup {
  BenchCommand() {
    super("name what to measure: phalanx bench collectives");
  }

  /** {@code phalanx bench collectives}. */
  @Command(
      name = "collectives",
      description = {
        "Times operations between ranks and checks their results, with the columns of nccl-tests:",
        "algbw is size / time in GB/s, busbw the load of the busiest link, whatever the number of"
            + " ranks."
      })
  static final class Collectives implements Callable<Integer> {
    private static final int DEFAULT_RANKS = 2;

    /** Each time is kept. */
    private static final int MOST_SAMPLES = 10_000_000;

    private static final Pattern SIZE =
        Pattern.compile("([0-9]{1,15})\\s*([KMG]?)(i?B?)", Pattern.CASE_INSENSITIVE);

    @Option(names = "--ranks", paramLabel = "N", description = "ranks, each a process (default: 2)")
    private @Nullable Integer ranks;

    @Option(names = "--in-process", description = "run all ranks as threads of one process")
    private boolean isInProcess;

    @Option(
        names = "--op",
        paramLabel = "LIST",
        split = ",",
        defaultValue = "all_reduce,reduce_scatter,all_gather,broadcast",
        description = "operations (default: ${DEFAULT-VALUE})")
    private List<String> operations = List.of();

    @Option(
        names = "--sizes",
        paramLabel = "LIST",
        split = ",",
        defaultValue = "4K,64K,1M,16M,64M",
        description =
            "bytes of the whole tensor, K, M and G being powers of 1024 (default:"
                + " ${DEFAULT-VALUE})")
    private List<String> sizes = List.of();

    @Option(
        names = "--dtype",
        paramLabel = "TYPE",
        defaultValue = "float32",
        description =
            "float32, bfloat16, float16, float64, int32, int64 or uint8 (default:"
                + " ${DEFAULT-VALUE})")
    private String dtype = "float32";

    @Option(
        names = "--transport",
        paramLabel = "NAME",
        defaultValue = "auto",
        description = "auto, shm, tcp or grpc (default: ${DEFAULT-VALUE})")
    private String transport = "auto";

    @Option(
        names = "--algorithm",
        paramLabel = "NAME",
        defaultValue = "auto",
        description =
            "auto, ring, tree, halving_doubling, direct or hierarchical (default:"
                + " ${DEFAULT-VALUE})")
    private String algorithm = "auto";

    @Option(
        names = "--memory",
        paramLabel = "KIND",
        defaultValue = "shared",
        description =
            "where tensors lie: shared, which ranks of a host read from each other as they do"
                + " gradients, or private (default: ${DEFAULT-VALUE})")
    private String memory = "shared";

    @Option(
        names = "--samples",
        paramLabel = "N",
        defaultValue = "0",
        description = "samples of each size; 0: 100 of small sizes, fewer of large ones")
    private int samples;

    @Option(
        names = "--warmup",
        paramLabel = "N",
        defaultValue = "-1",
        description =
            "samples before those that count; left out: until the JVM has compiled what runs")
    private int warmup;

    @Option(
        names = "--timeout",
        paramLabel = "SECONDS",
        defaultValue = "60",
        description = "how long ranks wait for each other (default: ${DEFAULT-VALUE})")
    private int timeoutSeconds;

    @Option(
        names = "--streams",
        paramLabel = "N",
        defaultValue = "1",
        description =
            "TCP connections between two ranks, which messages take in turn (default:"
                + " ${DEFAULT-VALUE})")
    private int streams = 1;

    @Mixin private NetworkOptions network = new NetworkOptions();

    @Mixin private ExternalOptions external = new ExternalOptions();

    @Mixin private CommonOptions common = new CommonOptions();

    @Override
    public Integer call() throws Exception {
      Placement placement = placement();
      BenchmarkOptions options = options(placement);
      Console console = common.console();
      AtomicLong wrong = new AtomicLong();
      if (!common.isJson && placement.hasRankZero()) {
        console.result(BenchmarkRow.heading());
      }
      ExitStatus status =
          LocalBenchmark.run(
              options,
              placement,
              common.isVerbose,
              console,
              row -> {
                wrong.addAndGet(row.wrong());
                console.result(
                    common.isJson
                        ? new ObjectMapper().valueToTree(row).toString()
                        : row.toString());
              });
      if (wrong.get() > 0) {
        throw new CommandException(
            ExitStatus.RANK_FAILED,
            wrong + " elements were wrong: this machine or this version of Phalanx is broken.");
      }
      return status.code();
    }

    private Placement placement() throws IOException {
      external.excludes("--ranks", ranks != null);
      external.excludes("--in-process", isInProcess);
      external.excludes("--port", network.hasPort());
      Optional<Placement> elsewhere = external.placement(network.encryption());
      if (elsewhere.isPresent()) {
        return elsewhere.get();
      }
      int here = ranks == null ? DEFAULT_RANKS : ranks;
      requireFrom("--ranks", here, 1, JobConfig.MOST_RANKS);
      return Placement.here(here, isInProcess, network.port(), network.encryption());
    }

    private BenchmarkOptions options(Placement placement) {
      requireFrom("--samples", samples, 0, MOST_SAMPLES);
      requireFrom("--warmup", warmup, -1, MOST_SAMPLES);
      requireFrom("--timeout", timeoutSeconds, 1, Integer.MAX_VALUE);
      requireFrom("--streams", streams, 1, GroupOptions.MOST_STREAMS);
      List<MeasuredOperation> measured = new ArrayList<>();
      operations.forEach(name -> measured.add(choice("--op", name, MeasuredOperation.values())));
      List<Long> bytes = sizes.stream().map(Collectives::bytes).toList();
      requireAny("--op", measured);
      requireAny("--sizes", bytes);
      requireRoomFor(Collections.max(bytes), placement.ranksHere());
      DType type = choice("--dtype", dtype, DType.values());
      JobConfig.Transport wanted = choice("--transport", transport, JobConfig.Transport.values());
      network.requireEncryptionOf(wanted);
      network.requireStreams("--streams", streams, wanted);
      boolean isThere =
          switch (wanted) {
            case AUTO -> true;
            case SHM, TCP, GRPC -> !isInProcess;
            case INPROCESS -> isInProcess || placement.worldSize() == 1;
            case NCCL -> false;
          };
      if (!isThere) {
        throw CommandException.usage(
            "--transport "
                + transport
                + (isInProcess ? " does not go with --in-process" : " is not available")
                + "; leave it out, or write shm, tcp or grpc for ranks that are processes");
      }
      return new BenchmarkOptions(
          measured,
          bytes,
          type,
          samples,
          warmup,
          wanted,
          choice("--algorithm", algorithm, Algorithm.values()),
          choice("--memory", memory, BenchmarkOptions.Memory.values()),
          timeoutSeconds * 1000L,
          streams);
    }

    private static void requireFrom(String option, int value, int least, int most) {
      if (value < least || value > most) {
        throw CommandException.usage(
            option + " is " + value + "; write a number from " + least + " to " + most);
      }
    }

    private static void requireAny(String option, List<?> values) {
      if (values.isEmpty()) {
        throw CommandException.usage(
            option + " is an empty list; name one at least, or leave it out");
      }
    }

    /** Each rank has two tensors of the largest size. */
    private static void requireRoomFor(long largest, int ranks) {
      double needed = 2.0 * largest * ranks;
      long has = HostMemory.bytes();
      if (needed > has) {
        throw CommandException.usage(
            "%d ranks with two tensors of %d bytes each take %.0f GiB of memory, and this host has %d."
                    .formatted(ranks, largest, needed / (1 << 30), has >> 30)
                + " Write smaller --sizes, or fewer ranks.");
      }
    }

    private static <E extends Enum<E>> E choice(String option, String text, E[] values) {
      List<String> names = new ArrayList<>();
      for (E value : values) {
        String name = value.name().toLowerCase(Locale.ROOT);
        if (name.equals(text.trim().toLowerCase(Locale.ROOT))) {
          return value;
        }
        names.add(name);
      }
      throw CommandException.usage(
          option + " has '" + text + "'; write " + String.join(", ", names));
    }

    private static long bytes(String text) {
      Matcher matcher = SIZE.matcher(text.trim());
      if (!matcher.matches()) {
        throw CommandException.usage(
            "--sizes has '" + text + "'; write bytes such as 4096, 64K, 16M or 1G");
      }
      int shift =
          switch (matcher.group(2).toUpperCase(Locale.ROOT)) {
            case "K" -> 10;
            case "M" -> 20;
            case "G" -> 30;
            default -> 0;
          };
      long number = Long.parseLong(matcher.group(1));
      if (number > Long.MAX_VALUE >> (shift + 8)) {
        throw CommandException.usage("--sizes has '" + text + "', which is too large");
      }
      return number << shift;
    }
  }
}
