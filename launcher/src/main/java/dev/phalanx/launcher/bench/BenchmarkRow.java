package dev.phalanx.launcher.bench;

import com.fasterxml.jackson.annotation.JsonProperty;
import java.util.Locale;

/**
 * One measurement, in the terms of nccl-tests.
 *
 * @param bytes of the whole tensor; a rank's part of a scatter or gather is one over {@code ranks}
 *     of it
 * @param reduction {@code sum}, or {@code none}
 * @param algorithm as it was asked for
 * @param memory {@code shared}, or {@code private}
 * @param samples each the mean of some calls one after the other, on the slowest rank
 * @param wrong elements whose value was not right
 */
public record BenchmarkRow(
    @JsonProperty("op") String operation,
    @JsonProperty("bytes") long bytes,
    @JsonProperty("count") long count,
    @JsonProperty("dtype") String dtype,
    @JsonProperty("redop") String reduction,
    @JsonProperty("ranks") int ranks,
    @JsonProperty("transport") String transport,
    @JsonProperty("algorithm") String algorithm,
    @JsonProperty("memory") String memory,
    @JsonProperty("samples") int samples,
    @JsonProperty("median_us") double medianMicros,
    @JsonProperty("p10_us") double lowMicros,
    @JsonProperty("p90_us") double highMicros,
    @JsonProperty("algbw_GBps") double algorithmBandwidth,
    @JsonProperty("busbw_GBps") double busBandwidth,
    @JsonProperty("wrong") long wrong) {

  /** The names of the columns, above rows. */
  public static String heading() {
    return String.format(
        "%-14s %12s %12s %9s %6s %9s %16s %8s %11s %9s %9s %6s",
        "op",
        "size B",
        "count",
        "type",
        "redop",
        "transport",
        "algorithm",
        "memory",
        "time us",
        "algbw",
        "busbw",
        "wrong");
  }

  @Override
  public String toString() {
    return String.format(
        Locale.ROOT,
        "%-14s %12d %12d %9s %6s %9s %16s %8s %11.1f %9.3f %9.3f %6d",
        operation,
        bytes,
        count,
        dtype,
        reduction,
        transport,
        algorithm,
        memory,
        medianMicros,
        algorithmBandwidth,
        busBandwidth,
        wrong);
  }
}
