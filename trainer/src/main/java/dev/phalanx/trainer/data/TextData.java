package dev.phalanx.trainer.data;

import dev.phalanx.trainer.tokenizer.ByteTokenizer;
import dev.phalanx.trainer.tokenizer.Tokenizer;
import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.channels.OverlappingFileLockException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.security.MessageDigest;
import java.time.Duration;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * A text file as tokens ({@code data.kind: text}). With the tokenizer {@code bytes} the file is
 * mapped as it is; with another one it is encoded once into a token file in a cache folder, named
 * after the digests of the text and the tokenizer, so that a changed text is encoded anew.
 *
 * <p>Ranks may open the same text at once, as threads or as processes: one encodes while the others
 * wait for its file lock, which ends with its process. Where the file system has no locks each rank
 * encodes for itself; either way the file appears by one rename.
 */
public final class TextData {
  private static final Duration LONGEST_WAIT = Duration.ofHours(6);
  private static final long POLL_MILLIS = 50;
  private static final int KEY_BYTES = 12;

  private TextData() {}

  /**
   * Opens a text. The caller closes the source.
   *
   * @param cacheDirectory where token files of texts are kept; made on first use, and free to be
   *     deleted between runs
   * @param progress hears how far the encoding is, where this call does it
   * @throws DataException if the text cannot be read or encoded
   */
  public static TokenSource open(
      Path text, Tokenizer tokenizer, Path cacheDirectory, DataPreparation.Progress progress) {
    if (tokenizer instanceof ByteTokenizer) {
      return ByteText.open(text);
    }
    InputFiles.requireReadable(text, "data.path");
    byte[] digest = digestOf(text);
    Path cached =
        cacheDirectory.resolve(text.getFileName() + "-" + key(digest, tokenizer) + ".tokens");
    return openIfWhole(cached, digest)
        .orElseGet(() -> encodeOnce(text, tokenizer, cached, digest, progress));
  }

  private static TokenFile encodeOnce(
      Path text,
      Tokenizer tokenizer,
      Path cached,
      byte[] digest,
      DataPreparation.Progress progress) {
    Path lockFile = cached.resolveSibling(cached.getFileName() + ".lock");
    try {
      Files.createDirectories(cached.toAbsolutePath().getParent());
      try (FileChannel channel =
              FileChannel.open(lockFile, StandardOpenOption.CREATE, StandardOpenOption.WRITE);
          @Nullable FileLock lock = acquire(channel, lockFile)) {
        Optional<TokenFile> finished = openIfWhole(cached, digest);
        return finished.isPresent()
            ? finished.get()
            : encode(text, tokenizer, cached, digest, progress);
      }
    } catch (IOException e) {
      throw DataException.inputOutput(
          "the folder for encoded texts, "
              + cached.toAbsolutePath().getParent()
              + ", cannot be used: "
              + e
              + "; check its permissions and the free space",
          e);
    }
  }

  private static TokenFile encode(
      Path text, Tokenizer tokenizer, Path cached, byte[] digest, DataPreparation.Progress progress)
      throws IOException {
    Files.deleteIfExists(cached);
    DataPreparation.run(
        new DataPreparation.Request(List.of(text), tokenizer, cached, false), progress);
    TokenFile file = TokenFile.open(cached);
    if (!Arrays.equals(file.sourceDigest(), digest)) {
      file.close();
      throw DataException.inputOutput(
          text + " changed while it was read; start again when it is complete");
    }
    return file;
  }

  /** A damaged file in the cache counts as none: it is made again. */
  private static Optional<TokenFile> openIfWhole(Path cached, byte[] digest) {
    if (!Files.exists(cached)) {
      return Optional.empty();
    }
    try {
      TokenFile file = TokenFile.open(cached);
      if (Arrays.equals(file.sourceDigest(), digest)) {
        return Optional.of(file);
      }
      file.close();
      return Optional.empty();
    } catch (DataException e) {
      return Optional.empty();
    }
  }

  /**
   * Waits for the lock. A lock that a thread of this JVM holds is reported by an exception, one of
   * another process by null; neither can be waited for with a deadline, hence the polling.
   *
   * @return null where the file system has no locks
   */
  private static @Nullable FileLock acquire(FileChannel channel, Path lockFile) {
    long deadlineNanos = System.nanoTime() + LONGEST_WAIT.toNanos();
    while (System.nanoTime() < deadlineNanos) {
      try {
        FileLock lock = channel.tryLock();
        if (lock != null) {
          return lock;
        }
      } catch (OverlappingFileLockException e) {
        // A rank of this JVM encodes the text.
      } catch (IOException e) {
        return null;
      }
      try {
        Thread.sleep(POLL_MILLIS);
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
        throw DataException.inputOutput(
            "interrupted while another rank encodes the text (its lock is " + lockFile + ")", e);
      }
    }
    throw DataException.inputOutput(
        "another process has held "
            + lockFile
            + " for "
            + LONGEST_WAIT.toHours()
            + " hours; end it, or prepare the text with \"phalanx data prepare\" beforehand");
  }

  private static byte[] digestOf(Path text) {
    try {
      return SourceDigest.of(text);
    } catch (IOException e) {
      throw DataException.inputOutput(text + " cannot be read: " + e, e);
    }
  }

  private static String key(byte[] digest, Tokenizer tokenizer) {
    MessageDigest key = SourceDigest.sha256();
    key.update(digest);
    key.update(tokenizer.name().getBytes(StandardCharsets.UTF_8));
    return HexFormat.of().formatHex(key.digest(), 0, KEY_BYTES);
  }
}
