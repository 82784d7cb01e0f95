package dev.phalanx.collectives.security;

import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.security.SecureRandom;
import java.util.HexFormat;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

/**
 * A job's secret of 256 bits. Ranks prove to each other that they hold it without sending it: each
 * answers the other's random challenge with an HMAC-SHA-256 (RFC 2104).
 */
public final class JobToken {
  private static final int BYTES = 32;
  private static final String ALGORITHM = "HmacSHA256";

  private final byte[] secret;

  private JobToken(byte[] secret) {
    this.secret = secret;
  }

  /** A new secret from the system's source of randomness. */
  public static JobToken random() {
    byte[] secret = new byte[BYTES];
    new SecureRandom().nextBytes(secret);
    return new JobToken(secret);
  }

  /**
   * Reads what {@link #hex} wrote.
   *
   * @throws IllegalArgumentException where it is no token; the message does not repeat it
   */
  public static JobToken parse(String hex) {
    byte[] secret;
    try {
      secret = HexFormat.of().parseHex(hex.trim());
    } catch (IllegalArgumentException e) {
      throw new IllegalArgumentException("A job token has 64 hexadecimal digits");
    }
    if (secret.length != BYTES) {
      throw new IllegalArgumentException(
          "A job token has 64 hexadecimal digits, not " + 2 * secret.length);
    }
    return new JobToken(secret);
  }

  /** The secret in 64 hexadecimal digits, to be handed on by file or pipe and never logged. */
  public String hex() {
    return HexFormat.of().formatHex(secret);
  }

  /**
   * The proof that this side holds the token.
   *
   * @param challenge the other side's random bytes
   * @param purpose what the proof is for, the names of both sides among it: a proof for one purpose
   *     is none for another
   */
  public byte[] prove(byte[] challenge, String purpose) {
    try {
      Mac mac = Mac.getInstance(ALGORITHM);
      mac.init(new SecretKeySpec(secret, ALGORITHM));
      mac.update(purpose.getBytes(StandardCharsets.UTF_8));
      mac.update((byte) 0);
      return mac.doFinal(challenge);
    } catch (GeneralSecurityException e) {
      throw new IllegalStateException("Every Java has " + ALGORITHM, e);
    }
  }

  /**
   * Other 256 bits of which nobody can tell from the outside that they are this token's, the same
   * ones for the same purpose.
   */
  byte[] derive(String purpose) {
    return prove(new byte[0], "derived for " + purpose);
  }

  /**
   * The token of one attempt to run the job: whoever is late, of another attempt, does not hold it,
   * neither at the rendezvous nor at the ranks' ports nor in shared memory.
   *
   * @param attempt 0 for the first one, whose token is this
   */
  public JobToken ofAttempt(int attempt) {
    return attempt == 0 ? this : new JobToken(derive("attempt " + attempt));
  }

  /** Whether the other side's proof is right; takes the same time whatever differs. */
  public boolean verify(byte[] challenge, String purpose, byte[] proof) {
    return MessageDigest.isEqual(prove(challenge, purpose), proof);
  }

  /** Without the secret. */
  @Override
  public String toString() {
    return "JobToken";
  }
}
