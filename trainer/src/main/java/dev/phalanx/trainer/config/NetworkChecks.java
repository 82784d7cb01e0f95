package dev.phalanx.trainer.config;

import dev.phalanx.trainer.config.JobConfig.Compression;
import dev.phalanx.trainer.config.JobConfig.Data;
import dev.phalanx.trainer.config.JobConfig.Offload;
import dev.phalanx.trainer.config.JobConfig.Optimizer;
import dev.phalanx.trainer.config.JobConfig.Parallel;
import dev.phalanx.trainer.config.JobConfig.Precision;
import dev.phalanx.trainer.config.JobConfig.Sharding;

/**
 * What a plan may ask for where the model is a network of another library: such a network is whole
 * on every rank, computes in its own way, and owns its parameters' memory.
 */
final class NetworkChecks {
  private final JobConfig config;
  private final Problems problems;
  private final Positions positions;
  private final String family;

  NetworkChecks(JobConfig config, Problems problems, Positions positions) {
    this.config = config;
    this.problems = problems;
    this.positions = positions;
    this.family = config.model().family().label();
  }

  void check() {
    if (!(config.data() instanceof Data.Samples)) {
      report(
          "data.kind",
          "family " + family + " learns from samples with labels, and this data has tokens",
          "write 'kind: idx', 'kind: csv' or 'kind: parquet'");
    }
    if (config.precision() != Precision.FP32) {
      report(
          "precision",
          "a network of family " + family + " computes in the type that it was made with",
          "leave precision out");
    }
    if (config.batch().micro() > 0) {
      report(
          "batch.micro",
          "a rank computes its share of a batch of family " + family + " at once",
          "leave micro out");
    }
    checkAxes();
    checkSharding();
    checkOptimizer();
    checkCompression();
  }

  private void checkAxes() {
    Parallel parallel = config.parallel();
    requireWhole("tensor", parallel.tensor(), "its layers cannot be divided");
    requireWhole("pipeline", parallel.pipeline(), "its layers cannot be cut into stages");
    requireWhole("context", parallel.context(), "its samples cannot be divided");
    requireWhole("expert", parallel.expert(), "it has no experts to divide");
  }

  private void requireWhole(String axis, int size, String reason) {
    if (size > 1) {
      report(
          "parallel." + axis,
          "a network of family " + family + " is whole on every rank: " + reason,
          "write '" + axis + ": 1'; more ranks are data-parallel");
    }
  }

  private void checkSharding() {
    Sharding sharding = config.sharding();
    if (sharding.zero() > 1) {
      report(
          "sharding.zero",
          "zero "
              + sharding.zero()
              + " divides gradients, whose memory a network of family "
              + family
              + " owns",
          "write 'zero: 1' or 'zero: 0'");
    }
    if (sharding.zero() == 1 && config.optimizer().algorithm() instanceof Optimizer.OfNetwork) {
      report(
          "sharding.zero",
          "zero 1 divides an optimizer's state, and the network's own updater has all of it on"
              + " every rank",
          "write 'zero: 0', or under optimizer for example 'kind: adamw'");
    }
    if (sharding.shardSize() > 0) {
      report(
          "sharding.shard_size",
          "all ranks of a network of family " + family + " divide the optimizer's state",
          "leave shard_size out");
    }
    if (sharding.offload() != Offload.NONE) {
      report(
          "sharding.offload",
          "a network of family " + family + " is in the host's memory already",
          "write 'offload: none'");
    }
  }

  private void checkOptimizer() {
    if (config.optimizer().algorithm() instanceof Optimizer.Muon) {
      report(
          "optimizer.kind",
          "muon is for the matrices of transformers",
          "write 'kind: network' for the network's own updater, or adamw, sgd or lamb");
    }
  }

  /** Codecs that sum momenta, which the network's updater would take for gradients. */
  private void checkCompression() {
    Compression compression = config.communication().compression();
    boolean isOneBit = compression instanceof Compression.OneBit;
    if (isOneBit || (compression instanceof Compression.TopK topK && topK.momentum() > 0)) {
      report(
          isOneBit ? "communication.compression.kind" : "communication.compression.momentum",
          "this compression sums momenta, and a network of family " + family + " takes gradients",
          isOneBit ? "write another kind, as in 'kind: int8'" : "write 'momentum: 0'");
    }
  }

  private void report(String keyPath, String message, String suggestion) {
    problems.add(positions.of(keyPath), keyPath, message, suggestion);
  }
}
