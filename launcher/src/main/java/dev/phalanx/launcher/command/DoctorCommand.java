package dev.phalanx.launcher.command;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.phalanx.launcher.ExitStatus;
import dev.phalanx.launcher.Failures;
import dev.phalanx.tensor.Arena;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Device;
import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.EngineOptions;
import dev.phalanx.tensor.EngineProvider;
import dev.phalanx.tensor.Engines;
import dev.phalanx.tensor.Tensor;
import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;

/** {@code phalanx doctor}: looks whether this machine can run jobs. */
@Command(
    name = "doctor",
    description = "Looks whether everything that a job needs works on this machine.")
final class DoctorCommand implements Callable<Integer> {
  /** Rows and columns of a product that is large enough for every library of an engine. */
  private static final int PRODUCT = 256;

  private record Finding(String what, boolean isWell, String details) {}

  private interface Check {
    String details() throws Exception;
  }

  @Mixin private CommonOptions common = new CommonOptions();

  @Override
  public Integer call() {
    List<Finding> findings = new ArrayList<>();
    findings.add(check("java", DoctorCommand::java));
    findings.add(check("engine", () -> engine("auto")));
    Engines.available().stream()
        .skip(1) // it is what "auto" takes
        .map(EngineProvider::name)
        .forEach(name -> findings.add(check("engine " + name, () -> engine(name))));
    findings.add(check("loopback", DoctorCommand::loopback));
    findings.add(check("disk", DoctorCommand::disk));
    boolean isWell = findings.stream().allMatch(Finding::isWell);
    if (common.isJson) {
      ObjectNode json = new ObjectMapper().createObjectNode();
      json.put("well", isWell);
      ArrayNode list = json.putArray("checks");
      findings.forEach(
          finding ->
              list.addObject()
                  .put("name", finding.what())
                  .put("well", finding.isWell())
                  .put("details", finding.details()));
      common.console().result(json.toString());
    } else {
      findings.forEach(
          finding ->
              common
                  .console()
                  .result(
                      String.format(
                          "%-11s %-4s %s",
                          finding.what(), finding.isWell() ? "ok" : "BAD", finding.details())));
    }
    return isWell ? 0 : ExitStatus.RANK_FAILED.code();
  }

  private static Finding check(String what, Check check) {
    try {
      return new Finding(what, true, check.details());
    } catch (Exception | LinkageError e) {
      return new Finding(what, false, Failures.describe(e).message());
    }
  }

  private static String java() {
    return Runtime.version()
        + " on "
        + System.getProperty("os.name")
        + " "
        + System.getProperty("os.arch")
        + ", "
        + Runtime.getRuntime().availableProcessors()
        + " processors";
  }

  private static String engine(String name) {
    try (Engine engine = Engines.open(name, EngineOptions.singleThreaded());
        Arena arena = new Arena(engine, Device.CPU)) {
      Tensor ones = arena.allocate(DType.FLOAT32, PRODUCT, PRODUCT);
      Tensor product = arena.allocate(DType.FLOAT32, PRODUCT, PRODUCT);
      engine.fill(ones, 1);
      engine.matmul(ones, false, ones, false, product, 1, false);
      engine.synchronize(Device.CPU);
      float found = product.byteBuffer(0, Float.BYTES).getFloat(0);
      if (found != PRODUCT) {
        throw new IllegalStateException(
            "a product of ones gave " + found + " instead of " + PRODUCT);
      }
      return engine.description();
    }
  }

  private static String loopback() throws IOException {
    try (ServerSocket server = new ServerSocket(0, 1, InetAddress.getLoopbackAddress());
        Socket client = new Socket(server.getInetAddress(), server.getLocalPort())) {
      return "connections to " + client.getInetAddress().getHostAddress() + " work";
    }
  }

  private static String disk() throws IOException {
    Path here = Path.of("").toAbsolutePath();
    Path probe = Files.createTempFile(here, ".phalanx-doctor", "");
    Files.delete(probe);
    return here
        + " can be written, "
        + Files.getFileStore(here).getUsableSpace() / (1 << 20)
        + " MiB are free";
  }
}
