/**
 * How the ranks of a job find and trust each other before they exchange a tensor.
 *
 * <p>May use gRPC.
 */
@NullMarked
package dev.phalanx.collectives.rendezvous;

import org.jspecify.annotations.NullMarked;
