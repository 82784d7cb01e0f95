package dev.phalanx.deeplearning4j;

import dev.phalanx.trainer.config.JobConfig;
import dev.phalanx.trainer.data.DataException;
import java.io.IOException;
import java.nio.file.FileSystemException;
import java.nio.file.Path;
import java.util.Optional;
import java.util.stream.IntStream;
import org.nd4j.linalg.api.ndarray.INDArray;
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
 * @param image what samples can be looked at as, beside numbers in a row; empty: nothing else
 */
record NetworkData(
    Samples training,
    Optional<Samples> heldOut,
    Optional<JobConfig.Data.Normalization> normalization,
    Optional<ImageShape> image,
    long seed) {
  /** Of the order that says what is held out, which is no epoch's. */
  private static final int BEFORE_EPOCHS = -1;

  /** How many samples a normalization is fitted to at once. */
  private static final int FITTED_AT_ONCE = 1024;

  /** Samples that have gone through what was fitted to the training samples. */
  record Normalized(
      Samples training,
      Optional<Samples> heldOut,
      Optional<Normalizer<?>> normalizer,
      Optional<ImageShape> image) {

    /** The same samples in another shape. */
    Normalized shaped(ImageShape shape) {
      return new Normalized(
          training.preProcessed(shape),
          heldOut.map(samples -> samples.preProcessed(shape)),
          normalizer,
          Optional.empty());
    }
  }

  /**
   * Reads all of it; ND4J is not needed yet.
   *
   * @throws IOException where a file cannot be read
   * @throws DataException where one is damaged, does not fit, or leaves no samples to train on
   */
  static NetworkData open(JobConfig job, Path baseDirectory) throws IOException {
    return job.data() instanceof JobConfig.Data.Idx idx
        ? open(job, idx, baseDirectory)
        : open(job, (JobConfig.Data.Table) job.data(), baseDirectory);
  }

  /** Reads what a key of the plan names. */
  private interface Source<S> {
    S read() throws IOException;
  }

  private static <S> S read(String keyPath, Source<S> source) throws IOException {
    try {
      return source.read();
    } catch (FileSystemException | NoSuchColumnException e) {
      throw e; // which tells more than where it was found
    } catch (IOException e) {
      throw DataException.inputOutput(keyPath, String.valueOf(e.getMessage()));
    }
  }

  private static NetworkData open(JobConfig job, JobConfig.Data.Table plan, Path baseDirectory)
      throws IOException {
    try {
      Table training = read("data.path", () -> table(plan, baseDirectory));
      Optional<Samples> test = Optional.empty();
      if (plan.test().isPresent()) {
        Path file = baseDirectory.resolve(plan.test().get());
        test = Optional.of(read("data.test", () -> training.openLike(file)));
      }
      return of(job, training, test, Optional.of(plan.normalization()), Optional.empty());
    } catch (NoSuchColumnException e) {
      throw DataException.plan(
          plan.labels().contains(e.column()) ? "data.label" : "data.features",
          String.valueOf(e.getMessage()));
    }
  }

  private static NetworkData open(JobConfig job, JobConfig.Data.Idx idx, Path baseDirectory)
      throws IOException {
    Optional<Path> folder = idx.folder().map(baseDirectory::resolve);
    IdxImages found =
        folder.isPresent()
            ? read("data.path", () -> IdxImages.openFolder(folder.get(), IdxImages.Part.TRAIN))
            : read("data.images", () -> images(idx.training().orElseThrow(), baseDirectory));
    IdxImages training = ofClasses("training", found, idx.classes().orElse(found.labelCount()));
    Optional<Samples> test = Optional.empty();
    if (idx.test().isPresent()) {
      IdxImages other = read("data.test_images", () -> images(idx.test().get(), baseDirectory));
      test = Optional.of(like(training, other));
    } else if (folder.isPresent()) {
      IdxImages other =
          read("data.path", () -> IdxImages.openFolder(folder.get(), IdxImages.Part.TEST));
      test = Optional.of(like(training, other));
    }
    return of(job, training, test, Optional.empty(), Optional.of(training.shape()));
  }

  private static IdxImages images(JobConfig.Data.Idx.Files files, Path baseDirectory)
      throws IOException {
    return IdxImages.open(
        baseDirectory.resolve(files.images()), baseDirectory.resolve(files.labels()));
  }

  /** Test images of the same size, whose labels are those of the training images. */
  private static IdxImages like(IdxImages training, IdxImages test) {
    if (training.rows() != test.rows() || training.columns() != test.columns()) {
      throw DataException.plan(
          "data.kind",
          String.format(
              "the training images have %d x %d pixels, and the test images %d x %d; name files"
                  + " that belong together",
              training.rows(), training.columns(), test.rows(), test.columns()));
    }
    return ofClasses("test", test, training.labelCount());
  }

  /** The images with so many classes, which may be more than their labels are. */
  private static IdxImages ofClasses(String which, IdxImages images, int classes) {
    if (images.labelCount() > classes) {
      throw DataException.plan(
          "data.classes",
          String.format(
              "a %s image has the label %d, which is none of %d classes; write 'classes: %d', or"
                  + " more, or name files that belong together",
              which, images.labelCount() - 1, classes, images.labelCount()));
    }
    return images.withClasses(classes);
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
      Optional<JobConfig.Data.Normalization> normalization,
      Optional<ImageShape> image) {
    Optional<JobConfig.Data.Normalization> wanted =
        normalization.filter(kind -> kind != JobConfig.Data.Normalization.NONE);
    long seed = job.data().seed();
    if (test.isPresent() || job.evaluation().every() == 0) {
      return new NetworkData(all, test, wanted, image, seed);
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
    // Not the end of a table, whose rows may be sorted by their labels.
    int[] mixed = all.order(seed, BEFORE_EPOCHS);
    int trained = all.count() - heldOut;
    return new NetworkData(
        new SampleChoice(all, IntStream.of(mixed).limit(trained).sorted()),
        Optional.of(new SampleChoice(all, IntStream.of(mixed).skip(trained).sorted())),
        wanted,
        image,
        seed);
  }

  /** Fits the normalization to the training samples, with ND4J. */
  Normalized normalized() {
    if (normalization.isEmpty()) {
      return new Normalized(training, heldOut, Optional.empty(), image);
    }
    DataNormalization fitted =
        switch (normalization.get()) {
          case STANDARD -> new NormalizerStandardize();
          case MINMAX -> new NormalizerMinMaxScaler();
          case NONE -> throw new IllegalStateException("there is nothing to fit");
        };
    fitted.fit(training.batches(Math.min(FITTED_AT_ONCE, training.count())));
    if (fitted instanceof NormalizerMinMaxScaler scaler) {
      widenConstants(scaler);
    }
    DataSetPreProcessor apply = fitted::preProcess;
    return new Normalized(
        training.preProcessed(apply),
        heldOut.map(samples -> samples.preProcessed(apply)),
        Optional.of(fitted),
        image);
  }

  /**
   * Features that are always the same become 0. ND4J would divide by the difference of 1e-5 that it
   * adds to their largest value, and that is none for FLOAT numbers from 256 on.
   */
  private static void widenConstants(NormalizerMinMaxScaler fitted) {
    INDArray least = fitted.getMin();
    INDArray most = fitted.getMax();
    for (long feature = 0; feature < most.length(); feature++) {
      float value = least.getFloat(feature);
      if (most.getFloat(feature) <= value) {
        most.putScalar(feature, Math.max(value + 1, Math.nextUp(value)));
      }
    }
    fitted.setFeatureStats(least, most);
  }

  /** Numbers of samples that stand one after the other. */
  static int[] numbers(int first, int count) {
    return IntStream.range(first, first + count).toArray();
  }
}
