package dev.phalanx.trainer;

import dev.phalanx.trainer.config.JobConfig;
import java.util.Locale;

/** What a batch has many of, and speeds are measured in. */
public enum Unit {
  /** Of transformers. */
  TOKENS,
  /** Of networks that learn from samples with labels. */
  SAMPLES;

  /** That of a job. */
  public static Unit of(JobConfig job) {
    return job.model() instanceof JobConfig.Transformer ? TOKENS : SAMPLES;
  }

  /** As texts and reports have it. */
  public String label() {
    return name().toLowerCase(Locale.ROOT);
  }
}
