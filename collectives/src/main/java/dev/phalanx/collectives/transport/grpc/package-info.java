/**
 * The gRPC transport, for networks that let nothing but HTTP/2 through.
 *
 * <p>{@link dev.phalanx.collectives.transport.grpc.GrpcEndpoint} is the place to start reading. Two
 * ranks of a group have one bidirectional stream, which proves the job's token both ways before a
 * frame is looked at; its messages are the frames of the TCP transport, moved past protocol buffers
 * with one copy a side. {@code docs/wire-format.md} has the bytes.
 */
@NullMarked
package dev.phalanx.collectives.transport.grpc;

import org.jspecify.annotations.NullMarked;
