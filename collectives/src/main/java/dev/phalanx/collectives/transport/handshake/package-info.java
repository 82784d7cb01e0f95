/**
 * How two ranks come to one connection that both trust, whatever carries it.
 *
 * <p>May use {@code transport} and the job's token. {@link
 * dev.phalanx.collectives.transport.handshake.Hello} has the messages and is the place to start
 * reading; {@link dev.phalanx.collectives.transport.handshake.Meeting} decides between two ranks
 * that need each other at the same time.
 */
@NullMarked
package dev.phalanx.collectives.transport.handshake;

import org.jspecify.annotations.NullMarked;
