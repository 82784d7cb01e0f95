package dev.phalanx.collectives.transport.tcp;

import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;

/**
 * An authenticated connection that Netty has let go of.
 *
 * @param surplus what had been read behind the greeting
 */
record PeerSocket(SocketChannel channel, ByteBuffer surplus) {}
