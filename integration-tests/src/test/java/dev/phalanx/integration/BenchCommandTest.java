package dev.phalanx.integration;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.phalanx.tensor.Sample;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** {@code phalanx bench collectives}. */
@Timeout(120)
final class BenchCommandTest {
  @TempDir private Path folder = Path.of("");

  @Sample(2)
  @ParameterizedTest(name = "{0}, {1} ranks, {2}")
  @CsvSource({
    "--transport=shm, 2, float32, shm",
    "--transport=tcp, 3, bfloat16, tcp",
    "--transport=tcp --streams=3, 2, float32, tcp",
    "--transport=grpc, 3, float32, grpc",
    "--transport=grpc --tls=auto, 2, float32, grpc",
    "--tls=auto, 2, int32, shm",
    "--transport=auto, 3, int64, shm",
    "--in-process, 4, float64, inprocess",
    "--in-process, 2, float16, inprocess",
    "--in-process, 3, uint8, inprocess"
  })
  void everyOperationIsTimedAndRight(String options, int ranks, String dtype, String transport)
      throws Exception {
    String command =
        "bench collectives --sizes 16,999K --samples 3 --warmup 1 --json --ranks %d --dtype %s %s"
            .formatted(ranks, dtype, options);
    // Not what it measures counts here: the compiler that is done soonest.
    Command.Outcome outcome =
        Command.in(folder)
            .with("PHALANX_WORKER_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1")
            .run(command.split(" "));
    assertThat(outcome.status()).as(outcome.error()).isZero();
    List<String> operations = new ArrayList<>();
    for (String line : outcome.output().lines().toList()) {
      JsonNode row = new ObjectMapper().readTree(line);
      operations.add(row.path("op").asText());
      assertThat(row.path("wrong").longValue()).as(line).isZero();
      assertThat(row.path("transport").asText()).isEqualTo(transport);
      assertThat(row.path("ranks").intValue()).isEqualTo(ranks);
      assertThat(row.path("samples").intValue()).isEqualTo(3);
      assertThat(row.path("bytes").longValue()).isLessThanOrEqualTo(999 * 1024);
      if (row.path("bytes").longValue() > 0) {
        assertThat(row.path("median_us").doubleValue()).isPositive();
        assertThat(row.path("algbw_GBps").doubleValue()).isPositive();
      }
    }
    assertThat(operations)
        .containsExactly(
            "all_reduce",
            "all_reduce",
            "reduce_scatter",
            "reduce_scatter",
            "all_gather",
            "all_gather",
            "broadcast",
            "broadcast");
  }

  @ParameterizedTest(name = "{0}")
  @CsvSource({
    "--transport=shm --algorithm=direct --ranks=3, 3",
    "--transport=tcp --algorithm=ring --ranks=3, 3",
    "--transport=tcp --algorithm=tree --ranks=2 --memory=private, 2",
    "--in-process --algorithm=halving_doubling --ranks=5, 5"
  })
  void everyOperationIsInTheTable(String options, int ranks) throws Exception {
    String operations =
        "all_reduce,reduce_scatter,all_gather,broadcast,reduce,gather,scatter,all_to_all,send_receive";
    Command.Outcome outcome =
        Command.in(folder)
            .with("PHALANX_WORKER_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1")
            .run(
                ("bench collectives --sizes 300K --samples 2 --warmup 1 --op %s %s"
                        .formatted(operations, options))
                    .split(" "));
    assertThat(outcome.status()).as(outcome.error()).isZero();
    List<String> lines = outcome.output().lines().toList();
    assertThat(lines.get(0).trim().split("\\s+"))
        .startsWith("op", "size", "B", "count", "type", "redop")
        .endsWith("time", "us", "algbw", "busbw", "wrong");
    List<String> found = new ArrayList<>();
    for (String line : lines.subList(1, lines.size())) {
      String[] columns = line.trim().split("\\s+");
      found.add(columns[0]);
      assertThat(columns[1]).isEqualTo(Long.toString(300 * 1024 / 4 / ranks * ranks * 4L));
      assertThat(columns[columns.length - 1]).as("wrong").isEqualTo("0");
    }
    assertThat(String.join(",", found)).isEqualTo(operations);
  }

  /** Sums of so many ranks fit neither eight bits nor what BFLOAT16 has exactly, unless small. */
  @ParameterizedTest
  @ValueSource(strings = {"uint8", "bfloat16"})
  void sumsOfManyRanksAreRight(String dtype) throws Exception {
    Command.Outcome outcome =
        Command.in(folder)
            .run(
                ("bench collectives --in-process --ranks 130 --sizes 1040 --samples 1 --warmup 0"
                        + " --op all_reduce,reduce,reduce_scatter --dtype "
                        + dtype)
                    .split(" "));
    assertThat(outcome.status()).as(outcome.error()).isZero();
  }

  @Sample(4)
  @ParameterizedTest
  @CsvSource({
    "--op=all_redoce, all_reduce",
    "--sizes=4Q, 4096",
    "'--op=,', --op is an empty list",
    "'--sizes=,', --sizes is an empty list",
    "--sizes=100G, 2 ranks with two tensors of 107374182400 bytes each take 400 GiB",
    "--ranks=0, from 1",
    "--ranks=1000000 --sizes=1K, 1000000 worker processes take",
    "--dtype=float8, float16",
    "--transport=nccl, not available",
    "--tls=on, auto or none",
    "--port=70000, 65535",
    "--tls=auto --transport=tcp, which encrypts nothing",
    "--streams=17, from 1 to 16",
    "--streams=2 --transport=grpc, only TCP has several streams",
    "--streams=2 --tls=auto, --tls auto takes gRPC"
  })
  void aWrongOptionIsOneMessage(String options, String message) throws Exception {
    Command.Outcome outcome = Command.in(folder).run(("bench collectives " + options).split(" "));
    assertThat(outcome.status()).as(outcome.error()).isEqualTo(64);
    assertThat(outcome.error()).contains(message).doesNotContain("\tat ");
  }
}
