package dev.phalanx.collectives.rendezvous;

import java.security.SecureRandom;

/** What both sides of the rendezvous prove to each other. */
final class Challenges {
  /** The purposes of the two proofs: one side's answer is none for the other. */
  static final String SERVER = "phalanx rendezvous server";

  static final String RANK = "phalanx rendezvous rank";
  private static final int BYTES = 32;

  private Challenges() {}

  static byte[] random() {
    byte[] challenge = new byte[BYTES];
    new SecureRandom().nextBytes(challenge);
    return challenge;
  }
}
