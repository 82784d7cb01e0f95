/**
 * What moves bytes between the ranks of a group: threads of one JVM, or TCP.
 *
 * <p>May use {@code dev.phalanx.tensor} and the names of operations. {@link
 * dev.phalanx.collectives.transport.Transport} is the place to start reading; algorithms are
 * written against it and know nothing of sockets.
 */
@NullMarked
package dev.phalanx.collectives.transport;

import org.jspecify.annotations.NullMarked;
