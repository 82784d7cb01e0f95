/**
 * Collective algorithms, one a file, named as the literature names them.
 *
 * <p>They see a group through an {@link dev.phalanx.collectives.algorithm.Exchange}: sends that
 * return at once, receives that wait. {@link dev.phalanx.collectives.algorithm.RingAllReduce} is
 * the place to start reading; {@link dev.phalanx.collectives.algorithm.Selection} chooses among
 * them. In cost formulas n is the number of ranks, m the bytes of the tensor, α the time of one
 * message without content, β the time of one byte on the wire.
 */
@NullMarked
package dev.phalanx.collectives.algorithm;

import org.jspecify.annotations.NullMarked;
