package dev.phalanx.collectives.transport.shm;

import dev.phalanx.collectives.security.JobToken;
import dev.phalanx.collectives.transport.GroupId;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.MappedByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFileAttributes;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Comparator;
import java.util.HexFormat;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import java.util.concurrent.locks.ReadWriteLock;
import java.util.concurrent.locks.ReentrantReadWriteLock;
import java.util.stream.Stream;

/**
 * A group's folder in /dev/shm, which only this user can enter and whose name only the holders of
 * the job's token can work out. Files are taken out of it as soon as all have mapped them, so that
 * nothing is left, however the job ends.
 */
final class SharedFolder {
  private static final Path ROOT = Path.of("/dev/shm");
  private static final String PURPOSE = "phalanx shared memory folder";
  private static final String OWNER_ONLY = "rwx------";

  /**
   * Others may take the folder away, empty, while a file is made in it, and the other way round.
   */
  private static final int MOST_ATTEMPTS = 1000;

  /**
   * Until memory that the garbage collector has been asked for is given up on; the sum is twice.
   */
  private static final int LONGEST_PAUSE_MILLIS = 256;

  /** Of jobs in which this process makes no more files. */
  private static final Set<Path> ENDED = ConcurrentHashMap.newKeySet();

  /** Read: a file is being made. */
  private static final ReadWriteLock MAKING = new ReentrantReadWriteLock();

  private final Path job;
  private final Path folder;

  SharedFolder(JobToken token, GroupId group) {
    this.job = folder(token);
    this.folder = job.resolve(Long.toHexString(group.number()) + "-" + group.generation());
  }

  private static Path folder(JobToken token) {
    byte[] name = token.prove(new byte[0], PURPOSE);
    return ROOT.resolve("phalanx-" + HexFormat.of().formatHex(name, 0, 16));
  }

  /** What tells this host's shared memory from all others, and its size; empty without any. */
  static Optional<String> hostIdentity() {
    try {
      if (!Files.isWritable(ROOT)) {
        return Optional.empty();
      }
      String boot = Files.readString(Path.of("/proc/sys/kernel/random/boot_id")).trim();
      // Containers of one host have a device each.
      return Optional.of(boot + "/" + Files.getAttribute(ROOT, "unix:dev") + "/" + totalBytes());
    } catch (IOException | UnsupportedOperationException | IllegalArgumentException e) {
      return Optional.empty();
    }
  }

  static long usableBytes() {
    try {
      return Files.getFileStore(ROOT).getUsableSpace();
    } catch (IOException e) {
      return 0;
    }
  }

  /**
   * The size of all shared memory of the host that this identity is of.
   *
   * @throws IllegalArgumentException where {@link #hostIdentity} never said this
   */
  static long totalBytes(String identity) {
    return Long.parseLong(identity.substring(identity.lastIndexOf('/') + 1));
  }

  /** Of the file system, whoever uses it. */
  private static long totalBytes() throws IOException {
    return Files.getFileStore(ROOT).getTotalSpace();
  }

  /**
   * A new file of zeros, its memory taken; others see it when it is complete.
   *
   * @throws IOException where there is not enough; the message tells what to do
   */
  MappedByteBuffer create(String name, long bytes) throws IOException {
    MAKING.readLock().lock();
    try {
      return createOnceThereIsRoom(name, bytes);
    } catch (FileAlreadyExistsException e) {
      throw new IOException(
          folder.resolve(name)
              + " is there already: another process of this job has this rank, or an earlier"
              + " attempt with the same token was killed while its ranks connected. In the second"
              + " case remove "
              + job
              + ", or give each attempt its own PHALANX_ATTEMPT.",
          e);
    } catch (IOException e) {
      throw new IOException(
          name
              + " cannot take "
              + bytes
              + " bytes of shared memory in "
              + ROOT
              + ": "
              + e
              + ". Give the host or container more of it, or write communication.transport: tcp.",
          e);
    } finally {
      MAKING.readLock().unlock();
    }
  }

  /**
   * What closed groups had is given back when the garbage collector finds their mappings: where
   * there is too little left it is asked to, here and, as they make their files too, on the other
   * ranks.
   */
  private MappedByteBuffer createOnceThereIsRoom(String name, long bytes) throws IOException {
    for (int millis = 1; ; millis *= 2) {
      refuseOnceEnded();
      try {
        return create(name, bytes, MOST_ATTEMPTS);
      } catch (IOException e) {
        if (usableBytes() >= bytes || millis > LONGEST_PAUSE_MILLIS) {
          throw e;
        }
        System.gc();
        LockSupport.parkNanos(TimeUnit.MILLISECONDS.toNanos(millis));
      }
    }
  }

  private MappedByteBuffer create(String name, long bytes, int attempts) throws IOException {
    Path unfinished = folder.resolve(name + ".new");
    try {
      makeFolder(job);
      makeFolder(folder);
      try (FileChannel channel =
          FileChannel.open(
              unfinished,
              Set.of(
                  StandardOpenOption.CREATE_NEW, StandardOpenOption.READ, StandardOpenOption.WRITE),
              PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rw-------")))) {
        fill(channel, bytes);
        MappedByteBuffer mapped = channel.map(FileChannel.MapMode.READ_WRITE, 0, bytes);
        Files.createLink(folder.resolve(name), unfinished); // refused where there is one already
        return mapped;
      } finally {
        Files.deleteIfExists(unfinished);
      }
    } catch (NoSuchFileException e) {
      if (attempts == 0) {
        throw e;
      }
      return create(name, bytes, attempts - 1);
    }
  }

  private static void makeFolder(Path folder) throws IOException {
    try {
      Files.createDirectory(
          folder,
          PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString(OWNER_ONLY)));
    } catch (FileAlreadyExistsException e) { // another rank was first
      PosixFileAttributes found =
          Files.readAttributes(folder, PosixFileAttributes.class, LinkOption.NOFOLLOW_LINKS);
      if (!found.isDirectory()
          || !PosixFilePermissions.toString(found.permissions()).equals(OWNER_ONLY)
          || !found.owner().equals(Files.getOwner(Path.of("/proc/self")))) {
        throw new IOException(folder + " is not the job's own folder", e);
      }
    }
  }

  /**
   * Zeros, written and not only a length set: a process that touches a page for which there is no
   * memory would be killed, while a write is only refused.
   */
  private void fill(FileChannel channel, long bytes) throws IOException {
    ByteBuffer zeros = ByteBuffer.allocateDirect(1 << 20);
    for (long done = 0; done < bytes; ) {
      refuseOnceEnded();
      zeros.clear().limit((int) Math.min(zeros.capacity(), bytes - done));
      done += channel.write(zeros);
    }
  }

  private void refuseOnceEnded() throws IOException {
    if (ENDED.contains(job)) {
      throw new IOException("the job has ended");
    }
  }

  boolean has(String name) {
    return Files.exists(folder.resolve(name));
  }

  /** Maps a part of a file that another rank has made. */
  MappedByteBuffer attach(String name, long offset, long bytes) throws IOException {
    try (FileChannel channel =
        FileChannel.open(folder.resolve(name), StandardOpenOption.READ, StandardOpenOption.WRITE)) {
      return channel.map(FileChannel.MapMode.READ_WRITE, offset, bytes);
    }
  }

  /** Deletes a file, and the folders with the last one; what is mapped stays usable. */
  void hide(String name) throws IOException {
    Files.deleteIfExists(folder.resolve(name));
    removeEmpty();
  }

  /** Deletes what any rank has made for the group; what is mapped stays usable. */
  void removeAll() {
    deleteAll(folder);
    removeEmpty();
  }

  private void removeEmpty() {
    try {
      Files.deleteIfExists(folder);
      Files.deleteIfExists(job);
    } catch (IOException e) {
      // Not empty: the last one removes it.
    }
  }

  /** Removes what a job has left whose ranks on this host have ended. */
  static void cleanUp(JobToken token) {
    deleteAll(folder(token));
  }

  /**
   * The same while ranks of this process may be making files, and others' processes do this too:
   * this one makes no more of them, so that the last to do it leaves nothing.
   */
  static void cleanUpBesideRanks(JobToken token) {
    Path job = folder(token);
    ENDED.add(job);
    MAKING.writeLock().lock(); // what is being made is complete or refused
    MAKING.writeLock().unlock();
    deleteAll(job);
  }

  private static void deleteAll(Path folder) {
    for (int attempt = 0; attempt < MOST_ATTEMPTS && Files.exists(folder); attempt++) {
      try (Stream<Path> all = Files.walk(folder)) {
        for (Path path : all.sorted(Comparator.reverseOrder()).toList()) {
          Files.deleteIfExists(path);
        }
      } catch (IOException | UncheckedIOException e) {
        // Something came or went meanwhile.
      }
    }
  }
}
