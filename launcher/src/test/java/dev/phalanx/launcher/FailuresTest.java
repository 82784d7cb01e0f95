package dev.phalanx.launcher;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.catchThrowable;

import dev.phalanx.checkpoint.BadCheckpointException;
import dev.phalanx.checkpoint.CheckpointWriteException;
import dev.phalanx.checkpoint.FolderInUseException;
import dev.phalanx.collectives.CollectiveException;
import dev.phalanx.collectives.CollectiveMismatchException;
import dev.phalanx.collectives.CollectiveTimeoutException;
import dev.phalanx.collectives.rendezvous.PortInUseException;
import dev.phalanx.collectives.rendezvous.RendezvousRefusedException;
import dev.phalanx.collectives.rendezvous.RendezvousTimeoutException;
import dev.phalanx.collectives.transport.PeerLostException;
import dev.phalanx.launcher.Failure.Blame;
import dev.phalanx.tensor.Device;
import dev.phalanx.tensor.EngineNotFoundException;
import dev.phalanx.tensor.OutOfNativeMemoryException;
import dev.phalanx.trainer.NotFiniteException;
import dev.phalanx.trainer.RankZeroWriteException;
import dev.phalanx.trainer.config.ConfigurationException;
import dev.phalanx.trainer.data.DataPreparation;
import dev.phalanx.trainer.data.TokenFile;
import dev.phalanx.trainer.tokenizer.Tokenizers;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.BindException;
import java.nio.file.AccessDeniedException;
import java.nio.file.FileSystemException;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.TimeoutException;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

final class FailuresTest {
  private static final Path NOWHERE = Path.of("/no/such/folder");

  static Stream<Arguments> exceptions() {
    return Stream.of(
        row(ExitStatus.USAGE, Blame.OWN, CommandException.usage("--workers is -1")),
        row(ExitStatus.USAGE, Blame.OWN, new ConfigurationException(List.of())),
        row(ExitStatus.USAGE, Blame.OWN, new EngineNotFoundException("no engine")),
        row(ExitStatus.USAGE, Blame.OWN, noInput()),
        row(ExitStatus.RANK_FAILED, Blame.OWN, new IllegalStateException("broken")),
        row(ExitStatus.RANK_FAILED, Blame.OWN, new AssertionError("broken")),
        row(ExitStatus.RANK_FAILED, Blame.OTHERS, new CollectiveException("rank 1 left")),
        row(ExitStatus.RANKS_DISAGREE, Blame.SHARED, new CollectiveMismatchException("differ")),
        row(ExitStatus.DEADLINE, Blame.SHARED, new CollectiveTimeoutException("late")),
        row(ExitStatus.DEADLINE, Blame.OTHERS, new RendezvousTimeoutException("rank 1 is missing")),
        row(ExitStatus.DEADLINE, Blame.OWN, new TimeoutException("late")),
        row(ExitStatus.REFUSED, Blame.OTHERS, new RendezvousRefusedException("another job")),
        row(ExitStatus.INPUT_OUTPUT, Blame.OWN, new IOException("broken pipe")),
        row(ExitStatus.INPUT_OUTPUT, Blame.OWN, new UncheckedIOException(new IOException("a"))),
        row(ExitStatus.INPUT_OUTPUT, Blame.OWN, new CheckpointWriteException("full", full())),
        row(ExitStatus.INPUT_OUTPUT, Blame.OTHERS, new RankZeroWriteException("full")),
        row(ExitStatus.INPUT_OUTPUT, Blame.OWN, noTokenFile()),
        row(ExitStatus.INPUT_OUTPUT, Blame.OWN, noTokenizer()),
        row(ExitStatus.BUSY, Blame.OWN, new BindException("Address already in use")),
        row(ExitStatus.BUSY, Blame.OWN, new PortInUseException("port 1 is taken", full())),
        row(ExitStatus.BUSY, Blame.OWN, new FolderInUseException(Path.of("a"), "process 1")),
        row(ExitStatus.BAD_CHECKPOINT, Blame.OWN, new BadCheckpointException("damaged")),
        row(ExitStatus.OUT_OF_MEMORY, Blame.OWN, new OutOfMemoryError("Java heap space")),
        row(
            ExitStatus.OUT_OF_MEMORY,
            Blame.OWN,
            new OutOfNativeMemoryException(Device.CPU, 1L << 50, new RuntimeException("mmap"))),
        row(ExitStatus.NOT_FINITE, Blame.OWN, new NotFiniteException("the loss is NaN")));
  }

  private static Arguments row(ExitStatus status, Blame blame, Throwable thrown) {
    return Arguments.of(status, blame, thrown);
  }

  private static IOException full() {
    return new IOException("No space left on device");
  }

  private static Throwable noInput() {
    return catchThrowable(
        () ->
            DataPreparation.run(
                new DataPreparation.Request(
                    List.of(), Tokenizers.open("bytes", NOWHERE), NOWHERE, false),
                DataPreparation.Progress.NONE));
  }

  private static Throwable noTokenFile() {
    return catchThrowable(() -> TokenFile.open(NOWHERE));
  }

  private static Throwable noTokenizer() {
    return catchThrowable(() -> Tokenizers.open("unheard-of", NOWHERE));
  }

  @ParameterizedTest
  @MethodSource("exceptions")
  void everyKindOfExceptionHasItsStatusAndBlame(ExitStatus status, Blame blame, Throwable thrown) {
    Failure failure = Failures.describe(thrown);

    assertThat(failure.status()).isEqualTo(status);
    assertThat(failure.blame()).isEqualTo(blame);
  }

  @ParameterizedTest
  @MethodSource("exceptions")
  void aCauseTellsAlsoFromWithinOthers(ExitStatus status, Blame blame, Throwable thrown) {
    Throwable wrapped = new IllegalStateException("outer", new RuntimeException("inner", thrown));

    Failure failure = Failures.describe(wrapped);

    assertThat(failure.status()).isEqualTo(status);
    if (status != ExitStatus.RANK_FAILED) {
      assertThat(failure.blame()).isEqualTo(blame);
      assertThat(failure.message()).isEqualTo(Failures.describe(thrown).message());
    }
    assertThat(failure.stackTrace()).contains("outer", "inner");
  }

  @Test
  void theOutermostTellingExceptionWins() {
    Failure failure =
        Failures.describe(
            new BadCheckpointException("model.safetensors is cut off", new IOException("end")));

    assertThat(failure.status()).isEqualTo(ExitStatus.BAD_CHECKPOINT);
    assertThat(failure.message()).isEqualTo("model.safetensors is cut off");
  }

  @Test
  void aLostPeerIsToldByTheCollectiveThatLostIt() {
    Failure failure =
        Failures.describe(
            new CollectiveException("rank 0/2 barrier #3", new PeerLostException(1, "has left")));

    assertThat(failure.status()).isEqualTo(ExitStatus.RANK_FAILED);
    assertThat(failure.blame()).isEqualTo(Blame.OTHERS);
    assertThat(failure.message()).isEqualTo("rank 0/2 barrier #3");
  }

  @Test
  void aCircleOfCausesEnds() {
    Exception first = new IllegalStateException("first");
    Exception second = new IllegalStateException("second", first);
    first.initCause(second);

    assertThat(Failures.describe(first).status()).isEqualTo(ExitStatus.RANK_FAILED);
  }

  @Test
  void kindsOfWantOfMemoryAreToldApart() {
    assertThat(outOfMemory("Java heap space")).startsWith("out of Java heap").contains("-Xmx");
    assertThat(outOfMemory("GC overhead limit exceeded")).startsWith("out of Java heap");
    assertThat(outOfMemory("Cannot reserve 16777216 bytes of direct buffer memory (allocated: 1)"))
        .startsWith("out of direct memory")
        .contains("-XX:MaxDirectMemorySize");
    assertThat(outOfMemory("Direct buffer memory")).startsWith("out of direct memory");
    assertThat(outOfMemory("unable to create native thread: possibly out of memory"))
        .startsWith("no more threads")
        .contains("fewer workers");
    assertThat(
            Failures.describe(
                    new OutOfNativeMemoryException(Device.CPU, 1L << 40, new RuntimeException()))
                .message())
        .contains("1099511627776 bytes on cpu");
  }

  private static String outOfMemory(String message) {
    return Failures.describe(new OutOfMemoryError(message)).message();
  }

  @Test
  void filesAreNamedInASentence() {
    assertThat(message(new NoSuchFileException("/a/plan.yaml")))
        .isEqualTo("there is no file /a/plan.yaml. Check the path.");
    assertThat(message(new AccessDeniedException("/a")))
        .isEqualTo("access to /a is denied. Check its permissions.");
    assertThat(message(new FileSystemException("/a", null, "No space left on device")))
        .isEqualTo(
            "/a: No space left on device. Check the path, its permissions and the free space.");
    assertThat(message(new UncheckedIOException("while reading", new NoSuchFileException("/a"))))
        .isEqualTo("there is no file /a. Check the path.");
    assertThat(message(new FileNotFoundException("/a (Is a directory)")))
        .isEqualTo("FileNotFoundException: /a (Is a directory)");
  }

  @Test
  void anExceptionWithoutWordsIsNamed() {
    assertThat(message(new NullPointerException(null)))
        .isEqualTo("NullPointerException. Run again with --verbose to see where.");
    assertThat(message(new IllegalStateException(" "))).startsWith("IllegalStateException. ");
    assertThat(message(new IllegalStateException("odd"))).isEqualTo("IllegalStateException: odd");
  }

  private static String message(Throwable thrown) {
    return Failures.describe(thrown).message();
  }
}
