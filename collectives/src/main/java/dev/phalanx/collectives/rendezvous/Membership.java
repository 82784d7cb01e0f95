package dev.phalanx.collectives.rendezvous;

import java.net.InetSocketAddress;

/**
 * As whom a rank joins.
 *
 * @param fingerprint of what all ranks must have in common, the plan above all
 * @param dataAddress where this rank accepts data connections
 */
public record Membership(
    int rank, int worldSize, String fingerprint, InetSocketAddress dataAddress) {}
