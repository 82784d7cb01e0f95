package dev.phalanx.collectives;

/** Bytes and messages that a rank has sent in a group. Payload only: headers are not counted. */
public record Traffic(long bytesSent, long messagesSent) {}
