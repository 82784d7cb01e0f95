package dev.phalanx.collectives.rendezvous;

import java.security.SecureRandom;
import java.util.HexFormat;

/** What both sides of the rendezvous prove to each other. */
final class Challenges {
  static final int BYTES = 32;

  private Challenges() {}

  /** What the server proves: one side's answer is none for the other, nor for another rank's. */
  static String server(byte[] ownChallenge) {
    return "phalanx rendezvous server " + HexFormat.of().formatHex(ownChallenge);
  }

  /** What a rank proves. */
  static String rank(int rank, int worldSize, byte[] ownChallenge) {
    return "phalanx rendezvous rank "
        + rank
        + " of "
        + worldSize
        + " "
        + HexFormat.of().formatHex(ownChallenge);
  }

  static byte[] random() {
    byte[] challenge = new byte[BYTES];
    new SecureRandom().nextBytes(challenge);
    return challenge;
  }
}
