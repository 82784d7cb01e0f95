package dev.phalanx.checkpoint;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.ClosedChannelException;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.BasicFileAttributes;
import java.nio.file.attribute.PosixFilePermission;
import java.time.Duration;
import java.util.EnumSet;
import java.util.HashSet;
import java.util.Objects;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The right to write to a folder of checkpoints: a lock of the operating system on {@code .lock} in
 * it, which ends with the process that holds it, however that ends. The file says who that is; one
 * that a killed process has left bars nobody.
 */
final class FolderLock implements AutoCloseable {
  static final String FILE = ".lock";

  private static final Logger LOGGER = LoggerFactory.getLogger(FolderLock.class);
  private static final Duration BETWEEN_LOOKS = Duration.ofMillis(100);
  private static final int LONGEST_HOLDER = 512;

  /**
   * Folders that this process holds. Of two threads the system tells neither, and it ends a
   * process's lock as soon as any channel of that process to the file is closed.
   */
  private static final Set<Path> HELD_HERE = new HashSet<>();

  private final Path folder;
  private final Path file;
  private final FileChannel channel;

  private FolderLock(Path folder, FileChannel channel) {
    this.folder = folder;
    this.file = folder.resolve(FILE);
    this.channel = channel;
  }

  /**
   * Takes the lock, and makes the folder where there is none.
   *
   * @param holder what others hear of who has it
   * @param longest how long to wait for who holds it: a job that was just stopped may still be
   *     going
   * @throws FolderInUseException where somebody holds it for longer
   */
  static FolderLock acquire(Path folder, String holder, Duration longest)
      throws IOException, InterruptedException {
    long start = System.nanoTime();
    while (true) {
      if (!Files.isDirectory(folder)) { // early JDKs 17 fail at a link to one
        Files.createDirectories(folder);
      }
      Path real = folder.toRealPath();
      try {
        FileChannel channel = open(real, holder);
        if (channel != null) {
          return new FolderLock(real, channel);
        }
      } catch (FolderInUseException e) {
        if (System.nanoTime() - start >= longest.toNanos()) {
          throw e;
        }
        Thread.sleep(BETWEEN_LOOKS.toMillis());
      }
    }
  }

  /**
   * @return null where the file went away meanwhile with who held it
   */
  private static @Nullable FileChannel open(Path folder, String holder) throws IOException {
    Path file = folder.resolve(FILE);
    synchronized (HELD_HERE) {
      if (HELD_HERE.contains(folder)) {
        throw new FolderInUseException(folder, "this process itself: close what has it");
      }
      FileChannel channel = null;
      try {
        createIfMissing(folder, file);
        Object before = identity(file);
        channel = FileChannel.open(file, StandardOpenOption.READ, StandardOpenOption.WRITE);
        lock(folder, channel, holder);
        if (Objects.equals(before, identity(file))) {
          HELD_HERE.add(folder);
          FileChannel locked = channel;
          channel = null;
          return locked;
        }
        return null; // a lock on a file that nobody else finds
      } catch (NoSuchFileException e) {
        return null;
      } finally {
        if (channel != null) {
          channel.close();
        }
      }
    }
  }

  /** Whoever may write to the folder may take over what a killed process has left. */
  private static void createIfMissing(Path folder, Path file) throws IOException {
    try {
      Files.createFile(file);
      Set<PosixFilePermission> writers = Files.getPosixFilePermissions(folder);
      writers.retainAll(Set.of(PosixFilePermission.GROUP_WRITE, PosixFilePermission.OTHERS_WRITE));
      writers.addAll(Files.getPosixFilePermissions(file));
      Files.setPosixFilePermissions(file, readable(writers));
    } catch (FileAlreadyExistsException e) {
      // of who holds it, or left by a process that was killed
    } catch (UnsupportedOperationException e) {
      // a file system that has other rules, or none
    }
  }

  private static Set<PosixFilePermission> readable(Set<PosixFilePermission> writers) {
    Set<PosixFilePermission> both = EnumSet.copyOf(writers);
    if (writers.contains(PosixFilePermission.GROUP_WRITE)) {
      both.add(PosixFilePermission.GROUP_READ);
    }
    if (writers.contains(PosixFilePermission.OTHERS_WRITE)) {
      both.add(PosixFilePermission.OTHERS_READ);
    }
    return both;
  }

  private static Object identity(Path file) throws IOException {
    Object key = Files.readAttributes(file, BasicFileAttributes.class).fileKey();
    return key == null ? file : key; // systems without one do not delete files that are open
  }

  private static void lock(Path folder, FileChannel channel, String holder) throws IOException {
    FileLock lock;
    try {
      lock = channel.tryLock();
    } catch (ClosedChannelException e) { // on an interrupt
      throw e;
    } catch (IOException e) {
      LOGGER.warn(
          "The file system of {} has no locks ({}): nothing keeps another job from writing its"
              + " checkpoints there too",
          folder,
          e.getMessage());
      return;
    }
    if (lock == null) {
      throw new FolderInUseException(folder, holder(channel));
    }
    try {
      channel.truncate(0);
      channel.write(ByteBuffer.wrap(holder.getBytes(StandardCharsets.UTF_8)), 0);
    } catch (IOException e) {
      // It is held all the same, on a full disk too.
    }
  }

  private static String holder(FileChannel channel) throws IOException {
    ByteBuffer content = ByteBuffer.allocate(LONGEST_HOLDER);
    channel.read(content, 0);
    String name = StandardCharsets.UTF_8.decode(content.flip()).toString().strip();
    return name.isEmpty() ? "it does not say who it is" : name;
  }

  /** Gives it back, once. */
  @Override
  public void close() {
    synchronized (HELD_HERE) {
      try (channel) {
        if (channel.isOpen()) { // not after an interrupt, when another one may have it
          Files.deleteIfExists(file); // while it is held: who opens it now takes another look
        }
      } catch (IOException e) {
        // A file stays that bars nobody.
      } finally {
        HELD_HERE.remove(folder);
      }
    }
  }
}
