package dev.phalanx.deeplearning4j;

import dev.phalanx.trainer.config.JobConfig;
import dev.phalanx.trainer.data.DataException;
import java.io.IOException;
import java.nio.file.FileSystemException;
import java.nio.file.Path;
import java.util.Optional;
import java.util.stream.IntStream;
import org.nd4j.linalg.dataset.api.DataSetPreProcessor;
import org.nd4j.linalg.dataset.api.preprocessor.DataNormalization;
import org.nd4j.linalg.dataset.api.preprocessor.Normalizer;
import org.nd4j.linalg.dataset.api.preprocessor.NormalizerMinMaxScaler;
import org.nd4j.linalg.dataset.api.preprocessor.NormalizerStandardize;

/**
 * What a plan's data section names.
 *
 * @param heldOut samples that are not trained on; empty where the plan holds none out
 * @param normalization still to be fitted to the training samples; empty: samples stay as they are
 */
record NetworkData(
    Samples training,
    Optional<Samples> heldOut,
    Optional<JobConfig.Data.Normalization> normalization,
    long seed) {
  /** How many samples a normalization is fitted to at once. */
  private static final int FITTED_AT_ONCE = 1024;

  /** Samples that have gone through what was fitted to the training samples. */
  record Normalized(
      Samples training, Optional<Samples> heldOut, Optional<Normalizer<?>> normalizer) {}

  /**
   * Reads all of it; ND4J is not needed yet.
   *
   * @throws IOException where a file cannot be read
   * @throws DataException where one is damaged, does not fit, or leaves no samples to train on
   */
  static NetworkData open(JobConfig job, Path baseDirectory) throws IOException {
    try {
      return job.data() instanceof JobConfig.Data.Idx idx
          ? open(job, idx, baseDirectory)
          : open(job, (JobConfig.Data.Table) job.data(), baseDirectory);
    } catch (FileSystemException e) {
      throw e; // which names the file and tells what is wrong
    } catch (NoSuchColumnException e) {
      boolean isLabel = ((JobConfig.Data.Table) job.data()).labels().contains(e.column());
      throw DataException.plan(
          isLabel ? "data.label" : "data.features", String.valueOf(e.getMessage()));
    } catch (IOException e) {
      throw DataException.inputOutput("data.path", String.valueOf(e.getMessage()));
    }
  }

  private static NetworkData open(JobConfig job, JobConfig.Data.Table plan, Path baseDirectory)
      throws IOException {
    Table training = table(plan, baseDirectory);
    Optional<Samples> test = Optional.empty();
    if (plan.test().isPresent()) {
      test = Optional.of(training.openLike(baseDirectory.resolve(plan.test().get())));
    }
    return of(job, training, test, Optional.of(plan.normalization()));
  }

  private static NetworkData open(JobConfig job, JobConfig.Data.Idx idx, Path baseDirectory)
      throws IOException {
    IdxImages training =
        idx.folder().isPresent()
            ? IdxImages.openFolder(baseDirectory.resolve(idx.folder().get()), IdxImages.Part.TRAIN)
            : images(idx.training().orElseThrow(), baseDirectory);
    Optional<Samples> test = Optional.empty();
    if (idx.test().isPresent()) {
      test = Optional.of(like(training, images(idx.test().get(), baseDirectory)));
    } else if (idx.folder().isPresent()) {
      test =
          Optional.of(
              like(
                  training,
                  IdxImages.openFolder(
                      baseDirectory.resolve(idx.folder().get()), IdxImages.Part.TEST)));
    }
    return of(job, training, test, Optional.empty());
  }

  private static IdxImages images(JobConfig.Data.Idx.Files files, Path baseDirectory)
      throws IOException {
    return IdxImages.open(
        baseDirectory.resolve(files.images()), baseDirectory.resolve(files.labels()));
  }

  /** Test images of the same size, whose labels are those of the training images. */
  private static IdxImages like(IdxImages training, IdxImages test) {
    if (training.rows() != test.rows()
        || training.columns() != test.columns()
        || test.labelCount() > training.labelCount()) {
      throw DataException.plan(
          "data.kind",
          String.format(
              "the training images have %d x %d pixels and %d classes, and the test images %d x %d"
                  + " and %d; name files that belong together",
              training.rows(),
              training.columns(),
              training.labelCount(),
              test.rows(),
              test.columns(),
              test.labelCount()));
    }
    return test.withClasses(training.labelCount());
  }

  private static Table table(JobConfig.Data.Table plan, Path baseDirectory) throws IOException {
    Path file = baseDirectory.resolve(plan.path());
    TableColumns columns = new TableColumns(plan.labels(), plan.classes(), plan.features());
    if (plan.format() instanceof JobConfig.Data.Csv csv) {
      CsvOptions.Header header = CsvOptions.Header.valueOf(csv.header().name());
      return Table.openCsv(file, columns, new CsvOptions(csv.delimiter().charAt(0), header));
    }
    return Table.openParquet(file, columns);
  }

  /** Holds out what the plan's evaluation asks for. */
  private static NetworkData of(
      JobConfig job,
      Samples all,
      Optional<Samples> test,
      Optional<JobConfig.Data.Normalization> normalization) {
    Optional<JobConfig.Data.Normalization> wanted =
        normalization.filter(kind -> kind != JobConfig.Data.Normalization.NONE);
    long seed = job.data().seed();
    if (test.isPresent() || job.evaluation().every() == 0) {
      return new NetworkData(all, test, wanted, seed);
    }
    int heldOut = (int) Math.ceil(job.evaluation().fraction() * all.count());
    if (heldOut >= all.count()) {
      throw DataException.plan(
          "evaluation.fraction",
          "of "
              + all.count()
              + " samples "
              + heldOut
              + " are held out, which leaves none to train on; write a smaller fraction");
    }
    int trained = all.count() - heldOut;
    return new NetworkData(
        all.range(0, trained), Optional.of(all.range(trained, heldOut)), wanted, seed);
  }

  /** Fits the normalization to the training samples, with ND4J. */
  Normalized normalized() {
    if (normalization.isEmpty()) {
      return new Normalized(training, heldOut, Optional.empty());
    }
    DataNormalization fitted =
        switch (normalization.get()) {
          case STANDARD -> new NormalizerStandardize();
          case MINMAX -> new NormalizerMinMaxScaler();
          case NONE -> throw new IllegalStateException("there is nothing to fit");
        };
    fitted.fit(training.batches(Math.min(FITTED_AT_ONCE, training.count())));
    DataSetPreProcessor apply = fitted::preProcess;
    return new Normalized(
        training.preProcessed(apply),
        heldOut.map(samples -> samples.preProcessed(apply)),
        Optional.of(fitted));
  }

  /** Numbers of samples that stand one after the other. */
  static int[] numbers(int first, int count) {
    return IntStream.range(first, first + count).toArray();
  }
}
