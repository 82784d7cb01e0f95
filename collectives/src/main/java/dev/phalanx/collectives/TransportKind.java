package dev.phalanx.collectives;

/** What a job's ranks may talk over. */
public enum TransportKind {
  /** Shared memory within a host, TCP between hosts. */
  AUTO,
  /** Shared memory; all ranks must be on one host. */
  SHM,
  TCP,
  /** Streams of HTTP/2, for networks that let nothing else through. */
  GRPC
}
