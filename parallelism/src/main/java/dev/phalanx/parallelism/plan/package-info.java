/**
 * Plan arithmetic: how long a step takes on a described cluster.
 *
 * <p>Uses the mesh and the schedules of this module. Start with {@link
 * dev.phalanx.parallelism.plan.StepTime}.
 */
@NullMarked
package dev.phalanx.parallelism.plan;

import org.jspecify.annotations.NullMarked;
