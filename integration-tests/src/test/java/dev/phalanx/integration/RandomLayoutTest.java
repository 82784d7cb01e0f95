package dev.phalanx.integration;

import dev.phalanx.tensor.Sample;
import java.nio.file.Path;
import java.util.Optional;
import java.util.stream.LongStream;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Layouts that nobody has thought of: they too give the curve of one rank. */
@Timeout(120)
final class RandomLayoutTest {
  private static final int STEPS = 4;

  @TempDir private Path folder = Path.of("");

  static LongStream seeds() {
    return LongStream.range(0, 40);
  }

  @Sample(4)
  @ParameterizedTest
  @MethodSource("seeds")
  void theCurveIsThatOfOneRank(long seed) throws Exception {
    RandomPlan plan = new RandomPlan(seed);
    RandomPlan.Layout layout = plan.next();

    assertFollows(run(layout, STEPS, ""), run(plan.onOneRank(), STEPS, ""), layout);
  }

  @Sample(5)
  @ParameterizedTest
  @MethodSource("seeds")
  void aJobGoesOnInAnotherLayoutAsIfNothingHadHappened(long seed) throws Exception {
    RandomPlan plan = new RandomPlan(-seed);
    RandomPlan.Layout before = plan.next();
    RandomPlan.Layout after = plan.next();
    int first = 1 + (int) (seed % (STEPS - 1));
    String checkpoint = "checkpoint: {dir: checkpoints, every: %d}\n".formatted(first);
    Curves expected = run(plan.onOneRank(), STEPS, "");

    assertFollows(run(before, first, checkpoint), expected.upTo(first), before);
    Curves rest = run(after, STEPS, checkpoint, Optional.of(folder.resolve("checkpoints")));
    assertFollows(rest, expected.from(first), after);
  }

  private Curves run(RandomPlan.Layout layout, int steps, String more) throws Exception {
    return run(layout, steps, more, Optional.empty());
  }

  private Curves run(RandomPlan.Layout layout, int steps, String more, Optional<Path> resumeFrom)
      throws Exception {
    String yaml = layout.yaml() + "steps: " + steps + "\n" + more;
    return Curves.of(InProcessJob.run(yaml, layout.ranks(), folder, resumeFrom));
  }

  private static void assertFollows(Curves curves, Curves expected, RandomPlan.Layout layout) {
    try {
      curves.assertFollows(expected);
    } catch (AssertionError e) {
      throw new AssertionError(layout.yaml(), e);
    }
  }
}
