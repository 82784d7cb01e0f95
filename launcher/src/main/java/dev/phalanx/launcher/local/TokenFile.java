package dev.phalanx.launcher.local;

import dev.phalanx.collectives.security.JobToken;
import dev.phalanx.launcher.CommandException;
import dev.phalanx.launcher.ExitStatus;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermission;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.EnumSet;
import java.util.Set;

/** A job's token in a file that only its owner can read. */
public final class TokenFile {
  private static final Set<PosixFilePermission> OWNER_ALONE =
      PosixFilePermissions.fromString("rw-------");

  /** A token, a line's end and some space; whatever is larger is another file. */
  private static final long LARGEST_BYTES = 256;

  private TokenFile() {}

  /**
   * Writes a new token into a new file.
   *
   * @throws CommandException where there is such a file already
   */
  public static void create(Path file) throws IOException {
    boolean isWritten = false;
    try (FileChannel channel =
        FileChannel.open(
            file,
            Set.of(StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE),
            PosixFilePermissions.asFileAttribute(OWNER_ALONE))) {
      ByteBuffer line =
          ByteBuffer.wrap((JobToken.random().hex() + "\n").getBytes(StandardCharsets.US_ASCII));
      while (line.hasRemaining()) {
        channel.write(line);
      }
      isWritten = true;
    } catch (FileAlreadyExistsException e) {
      isWritten = true; // by somebody else
      throw new CommandException(
          ExitStatus.USAGE,
          "there is a file " + file + " already; name another one, for each job has its own token",
          e);
    } finally {
      if (!isWritten) { // a disk is full: a part would be in the way of the next attempt
        Files.deleteIfExists(file);
      }
    }
  }

  /**
   * @throws CommandException where others can read or write the file, or it holds no token; the
   *     message does not repeat what it holds
   */
  static JobToken read(Path file) throws IOException {
    Set<PosixFilePermission> permissions = Files.getPosixFilePermissions(file);
    Set<PosixFilePermission> tooMany = EnumSet.copyOf(PosixFilePermissions.fromString("---rwxrwx"));
    tooMany.retainAll(permissions);
    if (!tooMany.isEmpty()) {
      throw CommandException.usage(
          "the token file "
              + file
              + " is open to others ("
              + PosixFilePermissions.toString(permissions)
              + "), and whoever reads it can join the job; run chmod 600 "
              + file);
    }
    if (Files.size(file) <= LARGEST_BYTES) {
      try {
        return JobToken.parse(Files.readString(file, StandardCharsets.ISO_8859_1));
      } catch (IllegalArgumentException e) {
        // told below
      }
    }
    throw CommandException.usage(
        "the token file "
            + file
            + " does not hold 64 hexadecimal digits; make one with phalanx token");
  }
}
