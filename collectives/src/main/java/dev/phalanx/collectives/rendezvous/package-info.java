/**
 * How the ranks of a job find and trust each other before they exchange a tensor.
 *
 * <p>May use gRPC. {@link dev.phalanx.collectives.rendezvous.JobToken} is what makes a process a
 * member of the job.
 */
@NullMarked
package dev.phalanx.collectives.rendezvous;

import org.jspecify.annotations.NullMarked;
