package dev.phalanx.launcher.local;

import dev.phalanx.launcher.ExitStatus;
import dev.phalanx.trainer.JobResult;
import java.util.Optional;

/**
 * How a job ended.
 *
 * @param result the first rank's of this host, where the job ended without an error
 * @param failure the first failure in one sentence
 * @param stackTrace of the first failure; may be empty
 */
public record JobOutcome(
    ExitStatus status, Optional<JobResult> result, Optional<String> failure, String stackTrace) {}
