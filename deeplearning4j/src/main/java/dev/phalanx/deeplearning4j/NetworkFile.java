package dev.phalanx.deeplearning4j;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.phalanx.checkpoint.BadCheckpointException;
import dev.phalanx.trainer.config.JobConfig;
import java.io.BufferedInputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.Optional;
import java.util.zip.ZipEntry;
import java.util.zip.ZipException;
import java.util.zip.ZipFile;
import java.util.zip.ZipInputStream;
import org.deeplearning4j.nn.api.Model;
import org.deeplearning4j.nn.conf.ComputationGraphConfiguration;
import org.deeplearning4j.nn.conf.MultiLayerConfiguration;
import org.deeplearning4j.nn.graph.ComputationGraph;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.deeplearning4j.util.ModelSerializer;

/**
 * The file of a plan's {@code model.path}: a zip that {@code ModelSerializer} wrote, or the JSON of
 * a configuration, whose network begins with parameters of its seed.
 *
 * @param file which is there
 */
record NetworkFile(Path file) {
  private static final String CONFIGURATION = "configuration.json";
  private static final String PARAMETERS = "coefficients.bin";

  /** What {@code ModelSerializer} reads by Java's serialization, which may run anything. */
  private static final String SERIALIZED = "preprocessor.bin";

  /** What its configuration begins as. */
  private enum Kind {
    LAYERS,
    GRAPH
  }

  static NetworkFile of(JobConfig job, Path baseDirectory) {
    return new NetworkFile(baseDirectory.resolve(((JobConfig.Network) job.model()).path()));
  }

  /**
   * Looks at it without Deeplearning4j.
   *
   * @throws BadCheckpointException where it is neither, or would be read by Java's serialization
   */
  void check() throws IOException {
    kind();
  }

  /**
   * The network, with the state of its updater if it has any.
   *
   * @throws BadCheckpointException where it cannot be made, or as {@link #check}
   */
  Model open() throws IOException {
    Kind kind = kind();
    try {
      if (isZip()) {
        return kind == Kind.LAYERS
            ? ModelSerializer.restoreMultiLayerNetwork(file.toFile(), true)
            : ModelSerializer.restoreComputationGraph(file.toFile(), true);
      }
      String json = Files.readString(file);
      if (kind == Kind.LAYERS) {
        MultiLayerNetwork network = new MultiLayerNetwork(MultiLayerConfiguration.fromJson(json));
        network.init();
        network.setIterationCount(0); // of the network whose configuration this was
        network.setEpochCount(0);
        return network;
      }
      ComputationGraph graph = new ComputationGraph(ComputationGraphConfiguration.fromJson(json));
      graph.init();
      graph.getConfiguration().setIterationCount(0);
      graph.getConfiguration().setEpochCount(0);
      return graph;
    } catch (IOException | RuntimeException e) {
      throw bad("Deeplearning4j cannot make a network of it (" + e.getMessage() + ")", e);
    }
  }

  private boolean isZip() throws IOException {
    byte[] start = new byte[2];
    try (InputStream input = Files.newInputStream(file)) {
      return input.readNBytes(start, 0, 2) == 2 && start[0] == 'P' && start[1] == 'K';
    }
  }

  private Kind kind() throws IOException {
    if (!Files.exists(file)) {
      throw new NoSuchFileException(file.toString());
    }
    if (!Files.isRegularFile(file)) {
      throw bad("it is no file");
    }
    JsonNode configuration;
    try {
      configuration = new ObjectMapper().readTree(configuration());
    } catch (JsonProcessingException e) {
      throw bad("its configuration is no JSON", e);
    }
    if (configuration.path("confs").isArray()) {
      return Kind.LAYERS;
    }
    if (configuration.path("vertices").isObject()) {
      return Kind.GRAPH;
    }
    throw bad("its JSON is no configuration: it has neither confs nor vertices");
  }

  private String configuration() throws IOException {
    if (!isZip()) {
      return Files.readString(file, StandardCharsets.ISO_8859_1); // what is no text is no JSON
    }
    try (ZipFile directory = new ZipFile(file.toFile());
        ZipInputStream entries =
            new ZipInputStream(new BufferedInputStream(Files.newInputStream(file)))) {
      return configuration(entries, directory.size());
    } catch (ZipException | EOFException | IllegalArgumentException e) { // of names that are none
      throw bad("the zip is damaged (" + e.getMessage() + ")", e);
    }
  }

  /**
   * Reads one entry after the other, as {@code ModelSerializer} does, which does not ask the zip's
   * directory what they are.
   *
   * @param expected how many there are by the directory
   */
  private String configuration(ZipInputStream zip, int expected) throws IOException {
    Optional<String> configuration = Optional.empty();
    boolean hasParameters = false;
    int found = 0;
    for (ZipEntry entry = zip.getNextEntry(); entry != null; entry = zip.getNextEntry()) {
      found++;
      switch (entry.getName()) {
        case CONFIGURATION ->
            configuration = Optional.of(new String(zip.readAllBytes(), StandardCharsets.UTF_8));
        case PARAMETERS -> hasParameters = true;
        case SERIALIZED -> throw serialized();
        default -> {} // the updater's state, a normalizer, a program's own
      }
    }
    if (found != expected) {
      throw bad("the zip has " + found + " entries, and its directory " + expected);
    }
    if (configuration.isEmpty() || !hasParameters) {
      throw bad("the zip has no " + CONFIGURATION + " or no " + PARAMETERS);
    }
    return configuration.get();
  }

  private BadCheckpointException serialized() {
    return new BadCheckpointException(
        file
            + " has an entry "
            + SERIALIZED
            + ", a DataSetPreProcessor in Java's serialization, which can run any code while it is"
            + " read, so the file is not opened. Take the entry out (zip -d FILE "
            + SERIALIZED
            + "), or write the network again by ModelSerializer.writeModel; addNormalizerToModel"
            + " keeps a normalizer in another way.");
  }

  private BadCheckpointException bad(String problem, Exception cause) {
    BadCheckpointException told = bad(problem);
    told.initCause(cause);
    return told;
  }

  private BadCheckpointException bad(String problem) {
    return new BadCheckpointException(
        file
            + " is no network of Deeplearning4j: "
            + problem
            + ". Name a zip that ModelSerializer.writeModel wrote, or a file with the network's"
            + " getLayerWiseConfigurations().toJson() or getConfiguration().toJson().");
  }
}
