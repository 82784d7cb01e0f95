package dev.phalanx.launcher.event;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.phalanx.collectives.security.Encryption;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.Combinators;
import net.jqwik.api.Example;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import net.jqwik.api.constraints.IntRange;

final class AssignmentCodecTest {
  private static final String TOKEN = "5ec3e7";

  @Provide
  Arbitrary<Assignment> assignments() {
    Arbitrary<Integer> counts = Arbitraries.integers().between(1, 1 << 20);
    Arbitrary<Path> paths = Arbitraries.strings().alpha().withChars("/ .").map(Path::of);
    return Combinators.combine(
            Arbitraries.strings().ofMaxLength(200),
            counts,
            counts.list().ofMinSize(1).ofMaxSize(8),
            counts,
            Arbitraries.integers().between(0, 65535),
            counts,
            paths,
            paths.optional())
        .as(
            (plan, worldSize, ranks, localSize, port, threads, folder, resumeFrom) ->
                new Assignment(
                    TOKEN,
                    threads % 3 == 0 ? Encryption.TLS : Encryption.NONE,
                    threads % 2 == 0 ? Assignment.Task.TRAIN : Assignment.Task.BENCHMARK,
                    plan,
                    worldSize,
                    ranks,
                    localSize - 1,
                    localSize,
                    "198.18.0.2",
                    "127.0.0.1",
                    port,
                    threads,
                    folder,
                    resumeFrom));
  }

  @Property
  void anAssignmentReadsBackExactlyAsItWas(@ForAll("assignments") Assignment assignment) {
    String line = AssignmentCodec.encode(assignment);

    assertThat(line).doesNotContain("\n", "\r");
    assertThat(AssignmentCodec.decode(line)).isEqualTo(assignment);
  }

  @Property
  void aLineThatWasCutOffIsRefusedWithoutItsSecret(
      @ForAll("assignments") Assignment assignment, @ForAll @IntRange(max = 10_000) int cut) {
    String line = AssignmentCodec.encode(assignment);

    assertRefused(line.substring(0, cut % line.length()));
  }

  @Example
  void whatIsNoAssignmentIsRefused() {
    assertRefused("");
    assertRefused("stop");
    assertRefused("null");
    assertRefused("[\"5ec3e7\"]");
    assertRefused("{\"token\":\"5ec3e7\",\"plan\":\"name: a\"}");
    assertRefused("{\"token\":\"5ec3e7\",\"plan\":\"name: a\",\"ranks\":[]}");
    assertRefused("{\"token\":\"5ec3e7\",\"ranks\":[0]}");
    assertRefused("{\"token\":\"5ec3e7\",\"ranks\":[0],\"plan\":7}");
    assertRefused("{\"token\":\"5ec3e7\",\"ranks\":[0],\"plan\":\"a\",\"task\":\"DANCE\"}");
  }

  private static void assertRefused(String line) {
    assertThatThrownBy(() -> AssignmentCodec.decode(line))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("the first line of standard input is no assignment")
        .hasNoCause();
  }

  @Example
  void theSecretIsNotPrinted() {
    Assignment assignment =
        new Assignment(
            TOKEN,
            Encryption.NONE,
            Assignment.Task.TRAIN,
            "plan",
            2,
            List.of(0),
            0,
            2,
            "address",
            "host",
            1,
            1,
            Path.of("/"),
            Optional.empty());

    assertThat(assignment.toString()).doesNotContain(TOKEN).contains("[0] of 2");
  }
}
