package dev.phalanx.collectives.security;

/** What keeps others from reading what the processes of a job say to each other. */
public enum Encryption {
  /** Nothing: whoever can listen to the network reads along. */
  NONE,
  /** TLS 1.3 in which both sides show a certificate; gRPC is the one transport that has it. */
  TLS
}
