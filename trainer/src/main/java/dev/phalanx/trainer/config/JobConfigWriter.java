package dev.phalanx.trainer.config;

import dev.phalanx.trainer.config.JobConfig.Communication;
import dev.phalanx.trainer.config.JobConfig.Compression;
import dev.phalanx.trainer.config.JobConfig.Data;
import dev.phalanx.trainer.config.JobConfig.Experts;
import dev.phalanx.trainer.config.JobConfig.Init;
import dev.phalanx.trainer.config.JobConfig.Model;
import dev.phalanx.trainer.config.JobConfig.Network;
import dev.phalanx.trainer.config.JobConfig.Optimizer;
import dev.phalanx.trainer.config.JobConfig.Parallel;
import dev.phalanx.trainer.config.JobConfig.RopeScaling;
import dev.phalanx.trainer.config.JobConfig.Schedule;
import dev.phalanx.trainer.config.JobConfig.Transformer;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.snakeyaml.engine.v2.api.Dump;
import org.snakeyaml.engine.v2.api.DumpSettings;
import org.snakeyaml.engine.v2.common.FlowStyle;
import org.snakeyaml.engine.v2.schema.CoreSchema;

/**
 * Writes a plan with every default spelt out, always in the same order: the form in which workers
 * are told their job and checkpoints remember it. {@link JobConfigParser#parse(String, String)}
 * makes an equal {@link JobConfig} from it.
 */
public final class JobConfigWriter {
  private JobConfigWriter() {}

  public static String toYaml(JobConfig config) {
    DumpSettings settings =
        DumpSettings.builder()
            .setSchema(new CoreSchema())
            .setDefaultFlowStyle(FlowStyle.BLOCK)
            .setSplitLines(false)
            .build();
    return new Dump(settings).dumpToString(toMap(config));
  }

  /** Maps, lists, strings, numbers and booleans only, as JSON and YAML writers take them. */
  static Map<String, Object> toMap(JobConfig config) {
    Map<String, Object> map = new LinkedHashMap<>();
    map.put("name", config.name());
    map.put("seed", config.seed());
    map.put("engine", config.engine().label());
    map.put("device", config.device().label());
    map.put("precision", config.precision().label());
    config
        .lossScaling()
        .ifPresent(
            scaling ->
                map.put(
                    "loss_scaling",
                    mapOf(
                        "initial",
                        scaling.initial(),
                        "growth_interval",
                        scaling.growthInterval())));
    map.put("threads", config.threads());
    map.put("model", model(config.model()));
    map.put("data", data(config.data()));
    Map<String, Object> batch = mapOf("global", config.batch().global());
    putSize(batch, "micro", config.batch().micro());
    if (config.batch().isUneven()) {
      batch.put("uneven", true);
    }
    map.put("batch", batch);
    map.put("optimizer", optimizer(config.optimizer()));
    map.put("steps", config.steps());
    map.put("parallel", parallel(config.parallel()));
    map.put(
        "sharding",
        mapOf(
            "zero", config.sharding().zero(),
            "shard_size", config.sharding().shardSize(),
            "offload", config.sharding().offload().label(),
            "reshard_after_forward", config.sharding().reshardAfterForward()));
    map.put("communication", communication(config.communication()));
    config
        .checkpoint()
        .ifPresent(
            checkpoint ->
                map.put(
                    "checkpoint",
                    mapOf(
                        "dir", checkpoint.dir(),
                        "every", checkpoint.every(),
                        "keep", checkpoint.keep(),
                        "async", checkpoint.async())));
    Map<String, Object> log = mapOf("every", config.log().every());
    config.log().tensorboard().ifPresent(directory -> log.put("tensorboard", directory));
    config.log().report().ifPresent(file -> log.put("report", file));
    map.put("log", log);
    map.put(
        "evaluation",
        mapOf(
            "every", config.evaluation().every(),
            "batches", config.evaluation().batches(),
            "fraction", config.evaluation().fraction()));
    return map;
  }

  private static Map<String, Object> model(Model model) {
    return model instanceof Network network
        ? mapOf("family", network.family().label(), "path", network.path())
        : transformer((Transformer) model);
  }

  private static Map<String, Object> transformer(Transformer model) {
    Map<String, Object> map = mapOf("family", model.family().label());
    putSize(map, "layers", model.layers());
    putSize(map, "hidden", model.hidden());
    putSize(map, "heads", model.heads());
    putSize(map, "kv_heads", model.kvHeads());
    putSize(map, "ffn_hidden", model.ffnHidden());
    putSize(map, "sequence", model.sequence());
    putSize(map, "vocab", model.vocab());
    map.put("dropout", model.dropout());
    model.tiedEmbeddings().ifPresent(isTied -> map.put("tied_embeddings", isTied));
    model.normEpsilon().ifPresent(epsilon -> map.put("norm_eps", epsilon));
    model.ropeTheta().ifPresent(base -> map.put("rope_theta", base));
    model.ropeScaling().ifPresent(scaling -> map.put("rope_scaling", ropeScaling(scaling)));
    map.put("recompute", model.recompute().label());
    model.experts().ifPresent(experts -> map.put("experts", experts(experts)));
    map.put("init", init(model.init()));
    return map;
  }

  private static Map<String, Object> experts(Experts experts) {
    Map<String, Object> map = new LinkedHashMap<>();
    putSize(map, "count", experts.count());
    putSize(map, "top_k", experts.topK());
    map.put("balance", experts.balance());
    map.put("z_loss", experts.zLoss());
    return map;
  }

  private static Map<String, Object> ropeScaling(RopeScaling scaling) {
    if (scaling instanceof RopeScaling.Llama3 llama3) {
      return mapOf(
          "kind", "llama3",
          "factor", llama3.factor(),
          "low_freq_factor", llama3.lowFrequencyFactor(),
          "high_freq_factor", llama3.highFrequencyFactor(),
          "original_sequence", llama3.originalSequence());
    }
    return mapOf("kind", "none");
  }

  /** A size that was left open stays open. */
  private static void putSize(Map<String, Object> map, String key, long size) {
    if (size > 0) {
      map.put(key, size);
    }
  }

  private static Map<String, Object> init(Init init) {
    if (init instanceof Init.Normal normal) {
      return mapOf("kind", "normal", "std", normal.std());
    }
    if (init instanceof Init.Reference reference) {
      return mapOf("kind", "reference", "seed", reference.seed());
    }
    return mapOf("kind", "hf", "path", ((Init.HuggingFace) init).path());
  }

  private static Map<String, Object> data(Data data) {
    if (data instanceof Data.Text text) {
      return mapOf(
          "kind", "text", "path", text.path(), "tokenizer", text.tokenizer(), "seed", text.seed());
    }
    if (data instanceof Data.Tokens tokens) {
      Map<String, Object> map = mapOf("kind", "tokens", "path", tokens.path());
      tokens.tokenizerName().ifPresent(tokenizer -> map.put("tokenizer", tokenizer));
      map.put("seed", tokens.seed());
      return map;
    }
    if (data instanceof Data.Idx idx) {
      Map<String, Object> map = mapOf("kind", "idx");
      idx.folder().ifPresent(folder -> map.put("path", folder));
      putFiles(map, "", idx.training());
      putFiles(map, "test_", idx.test());
      idx.classes().ifPresent(classes -> map.put("classes", classes));
      map.put("seed", idx.seed());
      return map;
    }
    return data instanceof Data.Table table
        ? table(table)
        : mapOf("kind", "reference", "seed", data.seed());
  }

  private static void putFiles(
      Map<String, Object> map, String prefix, Optional<Data.Idx.Files> files) {
    files.ifPresent(
        pair -> {
          map.put(prefix + "images", pair.images());
          map.put(prefix + "labels", pair.labels());
        });
  }

  private static Map<String, Object> table(Data.Table table) {
    Map<String, Object> map =
        mapOf("kind", table.format() instanceof Data.Csv ? "csv" : "parquet", "path", table.path());
    table.test().ifPresent(test -> map.put("test", test));
    map.put("label", table.labels());
    map.put("classes", table.classes());
    if (!table.features().isEmpty()) {
      map.put("features", table.features());
    }
    map.put("normalize", table.normalization().label());
    if (table.format() instanceof Data.Csv csv) {
      map.put("header", csv.header().label());
      map.put("delimiter", csv.delimiter());
    }
    map.put("seed", table.seed());
    return map;
  }

  private static Map<String, Object> optimizer(Optimizer optimizer) {
    if (optimizer.algorithm() instanceof Optimizer.OfNetwork ofNetwork) {
      return mapOf("kind", ofNetwork.kind());
    }
    Map<String, Object> map = rule(optimizer.algorithm());
    map.put("lr", optimizer.learningRate());
    map.put("weight_decay", optimizer.weightDecay());
    optimizer.clipGradNorm().ifPresent(norm -> map.put("clip_grad_norm", norm));
    Schedule schedule = optimizer.schedule();
    map.put(
        "schedule",
        mapOf(
            "kind", schedule.kind().label(),
            "warmup_steps", schedule.warmupSteps(),
            "decay_steps", schedule.decaySteps(),
            "min_lr", schedule.minimumLearningRate()));
    return map;
  }

  private static Map<String, Object> rule(Optimizer.Rule rule) {
    if (rule instanceof Optimizer.AdamW adamW) {
      return mapOf(
          "kind",
          adamW.kind(),
          "betas",
          List.of(adamW.beta1(), adamW.beta2()),
          "eps",
          adamW.epsilon());
    }
    if (rule instanceof Optimizer.Lamb lamb) {
      return mapOf(
          "kind", lamb.kind(), "betas", List.of(lamb.beta1(), lamb.beta2()), "eps", lamb.epsilon());
    }
    if (rule instanceof Optimizer.Muon muon) {
      return mapOf(
          "kind", muon.kind(),
          "momentum", muon.momentum(),
          "nesterov", muon.nesterov(),
          "ns_steps", muon.newtonSchulzSteps(),
          "adamw_lr", muon.adamWLearningRate(),
          "betas", List.of(muon.beta1(), muon.beta2()),
          "eps", muon.epsilon());
    }
    Optimizer.Sgd sgd = (Optimizer.Sgd) rule;
    return mapOf("kind", "sgd", "momentum", sgd.momentum(), "nesterov", sgd.nesterov());
  }

  private static Map<String, Object> parallel(Parallel parallel) {
    return mapOf(
        "data", parallel.data(),
        "tensor", parallel.tensor(),
        "pipeline", parallel.pipeline(),
        "context", parallel.context(),
        "expert", parallel.expert(),
        "order", parallel.order().stream().map(Choice::label).toList(),
        "sequence_parallel", parallel.sequenceParallel(),
        "schedule", parallel.schedule(),
        "virtual_stages", parallel.virtualStages());
  }

  private static Map<String, Object> communication(Communication communication) {
    return mapOf(
        "transport", communication.transport().label(),
        "algorithm", communication.algorithm().label(),
        "bucket_mb", communication.bucketMb(),
        "overlap", communication.overlap(),
        "timeout_s", communication.timeoutSeconds(),
        "streams", communication.streams(),
        "compression", compression(communication.compression()));
  }

  private static Map<String, Object> compression(Compression compression) {
    Map<String, Object> map = mapOf("kind", CompressionBinder.kindOf(compression).label());
    if (compression instanceof Compression.Int8 int8) {
      map.put("block", int8.block());
    } else if (compression instanceof Compression.TopK topK) {
      map.put("density", topK.density());
      map.put("warmup_steps", topK.warmupSteps());
      map.put("momentum", topK.momentum());
    } else if (compression instanceof Compression.Threshold threshold) {
      map.put("threshold", threshold.threshold());
      if (threshold.isAdaptive()) {
        map.put("min_density", threshold.minimumDensity());
        map.put("max_density", threshold.maximumDensity());
      }
    } else if (compression instanceof Compression.OneBit oneBit) {
      map.put("warmup_steps", oneBit.warmupSteps());
    } else if (compression instanceof Compression.PowerSgd powerSgd) {
      map.put("rank", powerSgd.rank());
      map.put("warmup_steps", powerSgd.warmupSteps());
    }
    return map;
  }

  /** Keys and values in turn, in this order. */
  private static Map<String, Object> mapOf(Object... keysAndValues) {
    Map<String, Object> map = new LinkedHashMap<>();
    for (int i = 0; i < keysAndValues.length; i += 2) {
      map.put((String) keysAndValues[i], keysAndValues[i + 1]);
    }
    return map;
  }
}
