package dev.phalanx.collectives.transport;

/**
 * What a message costs on a link, in the α-β model (Hockney, 1994): {@code alpha + bytes * beta}.
 * The numbers are of the kind of link, not of this very one: they only choose among algorithms, and
 * every rank of a group must choose alike.
 *
 * @param alphaNanos of a message without content
 * @param betaNanos of a byte
 */
public record LinkCost(double alphaNanos, double betaNanos) {}
