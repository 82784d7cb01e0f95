/**
 * The plan file: one YAML file that describes a job and its parallel layout.
 *
 * <p>{@link dev.phalanx.trainer.config.JobConfigParser} turns YAML and {@code --set} overrides into
 * {@link dev.phalanx.trainer.config.JobConfig}, or reports every mistake at once with its line and
 * column; {@link dev.phalanx.trainer.config.JobConfigValidator} checks the values against each
 * other and against the number of ranks. Uses the YAML library and nothing else of the product.
 * Start reading at {@link dev.phalanx.trainer.config.JobConfig}; the keys and their defaults stand
 * in {@code JobConfigBinder}, and for users in {@code docs/plan-file.md}.
 */
@NullMarked
package dev.phalanx.trainer.config;

import org.jspecify.annotations.NullMarked;
