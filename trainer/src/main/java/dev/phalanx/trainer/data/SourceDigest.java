package dev.phalanx.trainer.data;

import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;

/**
 * Says which inputs a token file was made from: the SHA-256 of the inputs' SHA-256 digests, one
 * after the other.
 */
final class SourceDigest {
  private static final int READ_BYTES = 1 << 16;

  private final MessageDigest all = sha256();

  /** A digest for one input; give it to {@link #add} after the input's last byte. */
  static MessageDigest sha256() {
    try {
      return MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("this Java has no SHA-256, which every Java must have", e);
    }
  }

  void add(MessageDigest input) {
    all.update(input.digest());
  }

  byte[] value() {
    return all.digest();
  }

  /** The digest of a single input. */
  static byte[] of(Path input) throws IOException {
    MessageDigest digest = sha256();
    byte[] bytes = new byte[READ_BYTES];
    try (InputStream in = Files.newInputStream(input)) {
      for (int read = in.read(bytes); read >= 0; read = in.read(bytes)) {
        digest.update(bytes, 0, read);
      }
    }
    SourceDigest source = new SourceDigest();
    source.add(digest);
    return source.value();
  }
}
