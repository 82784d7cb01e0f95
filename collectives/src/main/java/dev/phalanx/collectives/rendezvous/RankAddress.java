package dev.phalanx.collectives.rendezvous;

import java.net.InetSocketAddress;

/**
 * A member of the job.
 *
 * @param address where it accepts data connections
 * @param hostName for messages
 */
public record RankAddress(int rank, InetSocketAddress address, long pid, String hostName) {}
