package dev.phalanx.trainer.config;

import static org.assertj.core.api.Assertions.assertThat;

import dev.phalanx.trainer.config.JobConfig.Algorithm;
import dev.phalanx.trainer.config.JobConfig.Axis;
import dev.phalanx.trainer.config.JobConfig.Batch;
import dev.phalanx.trainer.config.JobConfig.Checkpoint;
import dev.phalanx.trainer.config.JobConfig.Communication;
import dev.phalanx.trainer.config.JobConfig.Compression;
import dev.phalanx.trainer.config.JobConfig.Data;
import dev.phalanx.trainer.config.JobConfig.DeviceKind;
import dev.phalanx.trainer.config.JobConfig.EngineKind;
import dev.phalanx.trainer.config.JobConfig.Evaluation;
import dev.phalanx.trainer.config.JobConfig.Experts;
import dev.phalanx.trainer.config.JobConfig.Family;
import dev.phalanx.trainer.config.JobConfig.Init;
import dev.phalanx.trainer.config.JobConfig.Log;
import dev.phalanx.trainer.config.JobConfig.LossScaling;
import dev.phalanx.trainer.config.JobConfig.Network;
import dev.phalanx.trainer.config.JobConfig.Offload;
import dev.phalanx.trainer.config.JobConfig.Optimizer;
import dev.phalanx.trainer.config.JobConfig.Parallel;
import dev.phalanx.trainer.config.JobConfig.Precision;
import dev.phalanx.trainer.config.JobConfig.Recompute;
import dev.phalanx.trainer.config.JobConfig.RopeScaling;
import dev.phalanx.trainer.config.JobConfig.Schedule;
import dev.phalanx.trainer.config.JobConfig.ScheduleKind;
import dev.phalanx.trainer.config.JobConfig.Sharding;
import dev.phalanx.trainer.config.JobConfig.Transformer;
import dev.phalanx.trainer.config.JobConfig.Transport;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.Random;
import java.util.Set;
import java.util.TreeSet;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import org.junit.jupiter.api.Test;

class JobConfigWriterTest {
  /** Text that YAML would take for something else if it were written carelessly. */
  private static final List<String> AWKWARD_TEXT =
      List.of(
          "null",
          "true",
          "yes",
          "1",
          "3e-4",
          "0x10",
          "~",
          "- a",
          "a: b",
          "a #b",
          "'",
          "\"",
          "*x",
          "&x",
          "!x",
          "%x",
          "@x",
          "{a}",
          "[a]",
          "été\t😀",
          "line\nbreak",
          " lead",
          "trail ",
          "C:\\x",
          "x".repeat(300) + " " + "y".repeat(300),
          ".inf",
          "<<",
          "2024-01-01",
          "\u0085\u2028",
          "=");

  @Property(tries = 300)
  void whatIsWrittenReadsBackAsAnEqualPlan(@ForAll("configs") JobConfig config) {
    String yaml = JobConfigWriter.toYaml(config);

    assertThat(JobConfigParser.parse("job", yaml).config()).as(yaml).isEqualTo(config);
  }

  @Test
  void theOrderIsThatOfThePlanFile() {
    String yaml = JobConfigWriter.toYaml(Plans.parse(Plans.MINIMAL, "checkpoint.dir=c"));

    assertThat(
            yaml.lines()
                .filter(line -> !line.startsWith(" "))
                .map(line -> line.replaceFirst(":.*", "")))
        .containsExactly(
            "name",
            "seed",
            "engine",
            "device",
            "precision",
            "threads",
            "model",
            "data",
            "batch",
            "optimizer",
            "steps",
            "parallel",
            "sharding",
            "communication",
            "checkpoint",
            "log",
            "evaluation");
  }

  @Test
  void everyKeyIsDescribedInTheHandbook() throws IOException {
    String handbook = Files.readString(Path.of("..", "docs", "plan-file.md").toAbsolutePath());
    Set<String> keys = new TreeSet<>();
    for (String codec :
        List.of(
            "{kind: int8}",
            "{kind: topk}",
            "{kind: threshold, min_density: 0.01, max_density: 0.1}",
            "{kind: onebit}",
            "{kind: powersgd}")) {
      collectKeys(
          "",
          Plans.parse(
                  Plans.MINIMAL,
                  "communication.compression=" + codec,
                  "model.family=llama",
                  "checkpoint.dir=c",
                  "log={tensorboard: t, report: r}",
                  "optimizer.clip_grad_norm=1")
              .toMap(),
          keys);
    }
    for (String data :
        List.of(
            "{kind: idx, path: d, classes: 3}",
            "{kind: idx, images: a, labels: b, test_images: c, test_labels: d}",
            "{kind: csv, path: a, test: b, label: y, features: x}")) {
      collectKeys(
          "",
          Plans.parse(
                  Plans.MINIMAL,
                  "model={family: deeplearning4j, path: n.zip}",
                  "optimizer={kind: network}",
                  "data=" + data)
              .toMap(),
          keys);
    }
    collectKeys(
        "",
        Plans.parse(Plans.MINIMAL, "optimizer={kind: sgd, lr: 1}", "model.init={kind: hf, path: d}")
            .toMap(),
        keys);

    assertThat(keys)
        .hasSizeGreaterThan(60)
        .allSatisfy(key -> assertThat(handbook).contains("`" + key + "`"));
  }

  private static void collectKeys(String path, Map<?, ?> map, Set<String> keys) {
    map.forEach(
        (key, value) -> {
          String keyPath = path + key;
          if (value instanceof Map<?, ?> inner) {
            collectKeys(keyPath + ".", inner, keys);
          } else {
            keys.add(keyPath);
          }
        });
  }

  @Provide
  Arbitrary<JobConfig> configs() {
    return Arbitraries.randomValue(random -> new Generator(random).config());
  }

  /** Plans of every kind; they need not make sense as a whole. */
  private static final class Generator {
    private final Random random;

    Generator(Random random) {
      this.random = random;
    }

    JobConfig config() {
      Precision precision = any(Precision.values());
      boolean isNetwork = random.nextBoolean();
      int steps = count();
      return new JobConfig(
          text(),
          random.nextLong(),
          any(EngineKind.values()),
          any(DeviceKind.values()),
          precision,
          precision == Precision.FP16
              ? Optional.of(new LossScaling(positive(), count()))
              : Optional.empty(),
          random.nextInt(100),
          isNetwork ? new Network(Family.DEEPLEARNING4J, text()) : transformer(),
          data(),
          new Batch(
              count(),
              isNetwork && random.nextBoolean() ? 0 : count(),
              !isNetwork && random.nextBoolean()),
          random.nextBoolean() ? optimizer() : ofNetwork(steps),
          steps,
          parallel(),
          new Sharding(
              random.nextInt(4),
              random.nextBoolean() ? -1 : 4,
              any(Offload.values()),
              random.nextBoolean()),
          new Communication(
              any(Transport.values()),
              any(Algorithm.values()),
              positive(),
              random.nextBoolean(),
              0.001 + positive(),
              1 + random.nextInt(16),
              compression()),
          maybe(new Checkpoint(text(), count(), count(), random.nextBoolean())),
          new Log(count(), maybe(text()), maybe(text())),
          new Evaluation(
              random.nextInt(9), isNetwork && random.nextBoolean() ? 0 : count(), fraction()));
    }

    private Transformer transformer() {
      Family family = any(Family.GPT2, Family.LLAMA);
      Init init =
          any(
              new Init.Normal(positive()),
              new Init.Reference(random.nextLong()),
              new Init.HuggingFace(text()));
      boolean isOpen = init instanceof Init.HuggingFace && random.nextBoolean();
      int heads = isOpen ? 0 : count();
      return new Transformer(
          family,
          isOpen ? 0 : count(),
          isOpen ? 0 : count(),
          heads,
          isOpen ? 0 : count(),
          isOpen ? 0 : count(),
          isOpen ? 0 : count(),
          isOpen ? 0 : count(),
          fraction(),
          isOpen ? maybe(true) : Optional.of(random.nextBoolean()),
          isOpen ? maybe(fraction()) : Optional.of(fraction()),
          rotaryBase(family, isOpen),
          rotaryScaling(family, isOpen),
          any(Recompute.values()),
          maybe(experts(isOpen)),
          init);
    }

    private Experts experts(boolean isOpen) {
      return new Experts(isOpen ? 0 : count(), isOpen ? 0 : count(), fraction(), fraction());
    }

    private Optional<Double> rotaryBase(Family family, boolean isOpen) {
      if (family != Family.LLAMA) {
        return Optional.empty();
      }
      return isOpen ? maybe(positive()) : Optional.of(positive());
    }

    private Optional<RopeScaling> rotaryScaling(Family family, boolean isOpen) {
      if (family != Family.LLAMA) {
        return Optional.empty();
      }
      RopeScaling scaling =
          any(
              new RopeScaling.None(),
              new RopeScaling.Llama3(1 + positive(), positive(), positive(), count()));
      return isOpen ? maybe(scaling) : Optional.of(scaling);
    }

    private Data data() {
      return any(
          new Data.Text(text(), text(), random.nextLong()),
          new Data.Tokens(text(), maybe(text()), random.nextLong()),
          new Data.Reference(random.nextLong()),
          idx(Optional.of(text()), Optional.empty()),
          idx(Optional.empty(), Optional.of(files())),
          table(new Data.Parquet()),
          table(new Data.Csv(any(Data.Header.values()), any(",", ";", "\t", "|"))));
    }

    private Data idx(Optional<String> folder, Optional<Data.Idx.Files> training) {
      return new Data.Idx(
          folder, training, maybe(files()), maybe(any(2, 10, 1 << 20)), random.nextLong());
    }

    private Data.Idx.Files files() {
      return new Data.Idx.Files(text(), text());
    }

    private Data table(Data.Format format) {
      int classes = any(0, 2, 9);
      return new Data.Table(
          format,
          text(),
          maybe(text()),
          classes > 0 ? List.of("a b") : List.of("0", "'", "null"),
          classes,
          any(List.of(), List.of("3"), List.of("x", "- y")),
          any(Data.Normalization.values()),
          random.nextLong());
    }

    private static Optimizer ofNetwork(long steps) {
      return new Optimizer(
          new Optimizer.OfNetwork(),
          0,
          0,
          OptionalDouble.empty(),
          new Schedule(ScheduleKind.CONSTANT, 0, steps, 0));
    }

    private Optimizer optimizer() {
      Optimizer.Rule rule =
          any(
              new Optimizer.AdamW(fraction(), fraction(), positive()),
              new Optimizer.Lamb(fraction(), fraction(), positive()),
              new Optimizer.Muon(
                  fraction(),
                  random.nextBoolean(),
                  1 + random.nextInt(9),
                  positive(),
                  fraction(),
                  fraction(),
                  positive()),
              new Optimizer.Sgd(fraction(), random.nextBoolean()));
      return new Optimizer(
          rule,
          positive(),
          positive(),
          random.nextBoolean() ? OptionalDouble.empty() : OptionalDouble.of(positive()),
          new Schedule(any(ScheduleKind.values()), count(), count(), positive()));
    }

    private Parallel parallel() {
      List<Axis> order = new ArrayList<>(List.of(Axis.values()));
      Collections.shuffle(order, random);
      return new Parallel(
          random.nextBoolean() ? -1 : 3,
          1 + random.nextInt(8),
          1 + random.nextInt(8),
          1 + random.nextInt(8),
          1 + random.nextInt(8),
          order,
          random.nextBoolean(),
          any("1f1b", "zb-h1", "./table", "tables/a b.txt"),
          1 + random.nextInt(4));
    }

    private Compression compression() {
      return any(
          new Compression.None(),
          new Compression.Fp16(),
          new Compression.Bf16(),
          new Compression.Int8(count()),
          new Compression.TopK(fraction(), count(), fraction()),
          new Compression.Threshold(positive(), 0, 0),
          adaptiveThreshold(),
          new Compression.OneBit(count()),
          new Compression.PowerSgd(count(), count()));
    }

    private Compression adaptiveThreshold() {
      double minimum = fraction();
      return new Compression.Threshold(positive(), minimum, Math.max(minimum, fraction()));
    }

    @SafeVarargs
    private <T> T any(T... values) {
      return values[random.nextInt(values.length)];
    }

    private <T> Optional<T> maybe(T value) {
      return random.nextBoolean() ? Optional.of(value) : Optional.empty();
    }

    private String text() {
      return AWKWARD_TEXT.get(random.nextInt(AWKWARD_TEXT.size()));
    }

    private int count() {
      return 1 + random.nextInt(1 << 20);
    }

    private double fraction() {
      return Math.max(random.nextDouble(), Double.MIN_NORMAL);
    }

    private double positive() {
      return fraction() * Math.pow(10, random.nextInt(8) - 4);
    }
  }
}
