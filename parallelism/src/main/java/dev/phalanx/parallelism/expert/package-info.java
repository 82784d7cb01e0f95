/**
 * Mixtures of experts: a router sends each token to a few of many feed-forward layers (Shazeer et
 * al., 2017, "Outrageously Large Neural Networks"), which several ranks may divide among them
 * (Lepikhin et al., 2020, "GShard"). No token is ever dropped: an expert takes as many as come.
 *
 * <p>May use {@code dev.phalanx.tensor}, {@code dev.phalanx.collectives} and the other layers of
 * this module. Start with {@link dev.phalanx.parallelism.expert.ExpertFeedForward}.
 */
@NullMarked
package dev.phalanx.parallelism.expert;

import org.jspecify.annotations.NullMarked;
