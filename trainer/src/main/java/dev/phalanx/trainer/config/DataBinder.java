package dev.phalanx.trainer.config;

import dev.phalanx.trainer.config.JobConfig.Data;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Stream;

/** The section {@code data}. */
final class DataBinder {
  private static final long REFERENCE_SEED = 20240602;
  private static final int MOST_CLASSES = 1 << 20;

  private static final List<String> TABLE_KEYS =
      List.of("path", "test", "label", "classes", "features", "normalize");

  private DataBinder() {}

  enum Kind implements Choice {
    TEXT,
    TOKENS,
    REFERENCE,
    IDX,
    CSV,
    PARQUET
  }

  static Data bind(Section section, long jobSeed) {
    Kind kind =
        section.kind(
            "kind",
            Kind.class,
            Optional.of(Kind.TEXT),
            Map.of(
                Kind.TEXT, List.of("path", "tokenizer"),
                Kind.TOKENS, List.of("path", "tokenizer"),
                Kind.IDX,
                    List.of("path", "images", "labels", "test_images", "test_labels", "classes"),
                Kind.CSV,
                    Stream.concat(TABLE_KEYS.stream(), Stream.of("header", "delimiter")).toList(),
                Kind.PARQUET, TABLE_KEYS));
    Data data =
        switch (kind) {
          case TEXT ->
              new Data.Text(
                  section.text("path", "data/moby-dick.txt").required(),
                  section.text("tokenizer", "bytes").orElse("bytes"),
                  section.whole("seed").orElse(jobSeed));
          case TOKENS ->
              new Data.Tokens(
                  section.text("path", "data/book.tokens").required(),
                  section.text("tokenizer", "gpt2").optional(),
                  section.whole("seed").orElse(jobSeed));
          case REFERENCE -> new Data.Reference(section.whole("seed").orElse(REFERENCE_SEED));
          case IDX -> idx(section, jobSeed);
          case CSV ->
              table(
                  section,
                  new Data.Csv(
                      section.choice("header", Data.Header.class).orElse(Data.Header.AUTO),
                      new CharacterKey(section, "delimiter").orElse(",")),
                  jobSeed);
          case PARQUET -> table(section, new Data.Parquet(), jobSeed);
        };
    section.end();
    return data;
  }

  private static Data idx(Section section, long jobSeed) {
    Optional<String> images = section.text("images", "train-images-idx3-ubyte.gz").optional();
    Optional<Data.Idx.Files> training = files(section, images, "images", "labels");
    Optional<String> testImages = section.text("test_images", "t10k-images.gz").optional();
    Optional<Data.Idx.Files> test = files(section, testImages, "test_images", "test_labels");
    Optional<String> folder =
        images.isEmpty()
            ? Optional.of(section.text("path", "data/fashion-mnist").required())
            : Optional.empty();
    section
        .find("path")
        .filter(node -> images.isPresent())
        .ifPresent(
            node ->
                section.report(
                    node.position(),
                    "path",
                    "a folder of files with MNIST's names, and images are named too",
                    "leave path out, or images and labels"));
    Optional<Integer> classes =
        section.count("classes").from(2).to(MOST_CLASSES).optional().map(Math::toIntExact);
    return new Data.Idx(folder, training, test, classes, section.whole("seed").orElse(jobSeed));
  }

  /** Images and their labels: neither without the other. */
  private static Optional<Data.Idx.Files> files(
      Section section, Optional<String> images, String imagesKey, String labelsKey) {
    TextKey labels = section.text(labelsKey, labelsKey.replace('_', '-') + ".idx1-ubyte");
    if (images.isPresent()) {
      return Optional.of(new Data.Idx.Files(images.get(), labels.required()));
    }
    section
        .find(labelsKey)
        .ifPresent(
            node ->
                section.report(
                    node.position(),
                    labelsKey,
                    labelsKey + " are those of " + imagesKey + ", which is left out",
                    "write '" + imagesKey + "' or leave it out"));
    return Optional.empty();
  }

  private static Data table(Section section, Data.Format format, long jobSeed) {
    List<String> labels = new ColumnsKey(section, "label", "species").required();
    int classes = Math.toIntExact(section.count("classes").from(0).to(MOST_CLASSES).orElse(0L));
    if (classes == 1 || (classes > 0 && labels.size() > 1)) {
      section
          .find("classes")
          .ifPresent(
              node ->
                  section.report(
                      node.position(),
                      "classes",
                      classes == 1
                          ? "expected two classes or more, found 1"
                          : "the classes are those of one label, found the labels " + labels,
                      "write one label and its classes, or leave classes out to predict numbers"));
    }
    return new Data.Table(
        format,
        section.text("path", "data/iris.csv").required(),
        section.text("test", "data/iris-test.csv").optional(),
        labels,
        classes,
        features(section, labels),
        section.choice("normalize", Data.Normalization.class).orElse(Data.Normalization.NONE),
        section.whole("seed").orElse(jobSeed));
  }

  private static List<String> features(Section section, List<String> labels) {
    List<String> features =
        new ColumnsKey(section, "features", "width").optional().orElse(List.of());
    if (features.stream().anyMatch(labels::contains)) {
      section
          .find("features")
          .ifPresent(
              node ->
                  section.report(
                      node.position(),
                      "features",
                      "a column is a feature or a label, found "
                          + features
                          + " beside the label "
                          + labels,
                      "leave the label out of features"));
    }
    return features;
  }
}
