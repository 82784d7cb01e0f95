/**
 * Ranks of one host exchange messages through rings in memory that their processes share.
 *
 * <p>Start with {@link dev.phalanx.collectives.transport.shm.SharedMemoryEndpoint}, which brings
 * the ranks together, then {@link dev.phalanx.collectives.transport.shm.Ring}, the memory's layout.
 */
@NullMarked
package dev.phalanx.collectives.transport.shm;

import org.jspecify.annotations.NullMarked;
