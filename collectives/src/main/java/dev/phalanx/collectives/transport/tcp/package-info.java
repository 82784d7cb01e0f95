/**
 * The TCP transport, on Netty.
 *
 * <p>{@link dev.phalanx.collectives.transport.tcp.TcpEndpoint} is the place to start reading: it
 * listens for the ranks after this one and connects to those before, and each connection proves the
 * job's token both ways before a frame is read. {@code docs/wire-format.md} has the bytes.
 */
@NullMarked
package dev.phalanx.collectives.transport.tcp;

import org.jspecify.annotations.NullMarked;
