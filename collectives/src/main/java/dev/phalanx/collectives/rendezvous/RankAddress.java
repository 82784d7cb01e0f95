package dev.phalanx.collectives.rendezvous;

import java.net.InetSocketAddress;
import java.util.Optional;

/**
 * A member of the job.
 *
 * @param address where it accepts data connections
 * @param hostName for messages
 * @param sharedMemory the same on ranks that can share memory; empty where this one cannot
 */
public record RankAddress(
    int rank,
    InetSocketAddress address,
    long pid,
    String hostName,
    Optional<String> sharedMemory) {}
