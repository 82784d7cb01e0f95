package dev.phalanx.trainer.config;

import dev.phalanx.parallelism.plan.Cluster;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Optional;

/** Reads a file that describes a cluster, for {@code phalanx plan --cluster}. */
public final class ClusterParser {
  private static final double GIGA = 1e9;
  private static final double TERA = 1e12;
  private static final double BITS = 8;

  private ClusterParser() {}

  /**
   * @throws ConfigurationException with every mistake, also if the file cannot be read
   */
  public static ClusterDescription read(Path file) {
    return parse(file.toString(), JobConfigParser.textOf(file));
  }

  /**
   * @param source what messages call the text: its file
   * @throws ConfigurationException with every mistake
   */
  public static ClusterDescription parse(String source, String yaml) {
    Problems problems = new Problems();
    Section top =
        new Section(new PlanReader(source, problems).readPlan(yaml), problems, new HashMap<>());
    top.text("name", "dgx-a100").optional();
    int devices = Math.toIntExact(top.count("devices_per_host").from(1).example(8L).required());
    Section device =
        top.requiredSection("device", "{peak_tflops: 312, memory_gib: 80, memory_gb_per_s: 2039}");
    double peak = device.real("peak_tflops").above(0).example(312.0).required();
    Optional<Double> peakInFp32 = device.real("peak_tflops_fp32").above(0).example(19.5).optional();
    double efficiency = device.real("efficiency").above(0).to(1).orElse(0.5);
    double memory = device.real("memory_gib").above(0).example(80.0).required();
    double memorySpeed = device.real("memory_gb_per_s").above(0).example(2039.0).required();
    device.end();
    Section links =
        top.requiredSection(
            "links", "{within_host: {gbit_per_s: 2400}, between_hosts: {gbit_per_s: 200}}");
    Cluster.Link within = link(links, "within_host", 2400);
    Cluster.Link between = link(links, "between_hosts", 200);
    links.end();
    top.end();
    problems.throwIfAny();
    return new ClusterDescription(
        new Cluster(
            devices,
            peak * TERA * efficiency,
            memory * (1L << 30),
            memorySpeed * GIGA,
            within,
            between),
        peakInFp32.stream().mapToDouble(rate -> rate * TERA * efficiency).findFirst());
  }

  private static Cluster.Link link(Section links, String name, double example) {
    Section link = links.requiredSection(name, "{gbit_per_s: " + Math.round(example) + "}");
    double bits = link.real("gbit_per_s").above(0).example(example).required();
    double latency = link.real("latency_us").from(0).orElse(5.0);
    link.end();
    return new Cluster.Link(bits * GIGA / BITS, latency * 1e-6);
  }
}
