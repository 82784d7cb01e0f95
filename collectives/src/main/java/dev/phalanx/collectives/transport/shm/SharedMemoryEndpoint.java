package dev.phalanx.collectives.transport.shm;

import dev.phalanx.collectives.CollectiveException;
import dev.phalanx.collectives.CollectiveTimeoutException;
import dev.phalanx.collectives.rendezvous.JobToken;
import dev.phalanx.collectives.transport.Deadline;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.MappedByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFileAttributes;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Optional;
import java.util.Set;

/**
 * One rank's file of incoming rings, which the other ranks of the host find and map.
 *
 * <p>The files lie in a folder of /dev/shm that only this user can enter and whose name only the
 * holders of the job's token can work out. They are deleted as soon as all ranks have mapped them,
 * so that nothing is left, however the job ends.
 *
 * <pre>
 *   create (each rank) --> all have created (the rendezvous tells) --> connect --> transport
 * </pre>
 */
public final class SharedMemoryEndpoint implements AutoCloseable {
  private static final Path ROOT = Path.of("/dev/shm");

  /**
   * Several times a core's second cache: where two cores have no third one in common, a line that
   * is written again while the reader's cache still holds it is slower than one from memory.
   */
  private static final int LARGEST_RING = 8 << 20;

  private static final int SMALLEST_RING = 1 << 16;

  /** All rings of a host: containers often have 64 MiB of shared memory in all. */
  private static final long BUDGET_BYTES = 32L << 20;

  private static final String PURPOSE = "phalanx shared memory folder";

  private final Path folder;
  private final int rank;
  private final int size;
  private final int ringBytes;
  private final MappedByteBuffer inbox;

  private SharedMemoryEndpoint(
      Path folder, int rank, int size, int ringBytes, MappedByteBuffer inbox) {
    this.folder = folder;
    this.rank = rank;
    this.size = size;
    this.ringBytes = ringBytes;
    this.inbox = inbox;
  }

  /**
   * What tells this host, as far as shared memory is concerned, from all others: ranks with the
   * same one can share memory. Empty where there is none.
   */
  public static Optional<String> hostIdentity() {
    try {
      if (!Files.isWritable(ROOT)) {
        return Optional.empty();
      }
      String boot = Files.readString(Path.of("/proc/sys/kernel/random/boot_id")).trim();
      // Containers of one host have a device each.
      return Optional.of(boot + "/" + Files.getAttribute(ROOT, "unix:dev"));
    } catch (IOException | UnsupportedOperationException | IllegalArgumentException e) {
      return Optional.empty();
    }
  }

  /**
   * Makes this rank's rings, all of their memory taken.
   *
   * @param token the job's; the folder's name follows from it
   * @param rank this rank's number on the host, of {@code size}
   * @throws IOException where there is no shared memory or not enough
   */
  public static SharedMemoryEndpoint create(JobToken token, int rank, int size) throws IOException {
    Path folder = folder(token);
    int ringBytes = ringBytes(size);
    makeFolder(folder);
    Path file = file(folder, rank);
    long bytes = Math.max(0, size - 1) * (long) (Ring.HEADER_BYTES + ringBytes);
    try (FileChannel channel =
        FileChannel.open(
            file,
            Set.of(
                StandardOpenOption.CREATE_NEW, StandardOpenOption.READ, StandardOpenOption.WRITE),
            PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rw-------")))) {
      return new SharedMemoryEndpoint(folder, rank, size, ringBytes, take(channel, file, bytes));
    } catch (IOException e) {
      throw new IOException(
          "rank "
              + rank
              + " cannot take "
              + bytes
              + " bytes of shared memory in "
              + ROOT
              + ": "
              + e
              + ". Give the host or container more of it, or write communication.transport: tcp.",
          e);
    }
  }

  /**
   * Zeros, written and not only a length set: a process that touches a page for which there is no
   * memory would be killed, while a write is only refused.
   */
  private static MappedByteBuffer take(FileChannel channel, Path file, long bytes)
      throws IOException {
    try {
      ByteBuffer zeros = ByteBuffer.allocateDirect(1 << 16);
      for (long done = 0; done < bytes; ) {
        zeros.clear().limit((int) Math.min(zeros.capacity(), bytes - done));
        done += channel.write(zeros);
      }
      return channel.map(FileChannel.MapMode.READ_WRITE, 0, bytes);
    } catch (IOException e) {
      Files.deleteIfExists(file);
      throw e;
    }
  }

  /** Removes what a job leaves that ended before its ranks had connected. */
  public static void cleanUp(JobToken token) {
    Path folder = folder(token);
    try (var files = Files.list(folder)) {
      for (Path file : files.toList()) {
        Files.deleteIfExists(file);
      }
      Files.deleteIfExists(folder);
    } catch (IOException | UncheckedIOException e) {
      // As a rule the ranks have deleted everything themselves.
    }
  }

  private static Path folder(JobToken token) {
    byte[] name = token.prove(new byte[0], PURPOSE);
    return ROOT.resolve("phalanx-" + HexFormat.of().formatHex(name, 0, 16));
  }

  private static void makeFolder(Path folder) throws IOException {
    try {
      Files.createDirectory(
          folder,
          PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------")));
    } catch (FileAlreadyExistsException e) { // another rank was first
      PosixFileAttributes found =
          Files.readAttributes(folder, PosixFileAttributes.class, LinkOption.NOFOLLOW_LINKS);
      if (!found.isDirectory()
          || !PosixFilePermissions.toString(found.permissions()).equals("rwx------")) {
        throw new IOException(folder + " is not the job's own folder", e);
      }
    }
  }

  private static Path file(Path folder, int rank) {
    return folder.resolve("rank-" + rank);
  }

  private static int ringBytes(int size) {
    long each = BUDGET_BYTES / Math.max(1, (long) size * (size - 1));
    return Math.max(SMALLEST_RING, (int) Math.min(LARGEST_RING, Long.highestOneBit(each)));
  }

  /**
   * Maps the rings to all others and waits until they have mapped theirs.
   *
   * @throws CollectiveTimeoutException where a rank has not come in time; the message names it
   */
  public SharedMemoryTransport connect(Deadline deadline) throws IOException, InterruptedException {
    List<Ring> outgoing = new ArrayList<>();
    List<Ring> incoming = new ArrayList<>();
    for (int peer = 0; peer < size; peer++) {
      incoming.add(peer == rank ? unused() : ring(inbox, peer));
      outgoing.add(peer == rank ? unused() : attach(peer));
    }
    for (int peer = 0; peer < size; peer++) {
      while (peer != rank && !incoming.get(peer).isAttached()) {
        if (deadline.hasPassed()) {
          throw new CollectiveTimeoutException(
              "rank "
                  + rank
                  + "/"
                  + size
                  + " connecting: rank "
                  + peer
                  + " has not mapped its shared memory within "
                  + deadline.text()
                  + ". Look whether that rank runs.");
        }
        Thread.sleep(0, 50_000);
      }
    }
    close();
    return new SharedMemoryTransport(rank, outgoing, incoming);
  }

  private Ring attach(int peer) throws IOException {
    if (!Files.exists(file(folder, peer))) {
      throw new CollectiveException(
          "rank " + rank + "/" + size + " connecting: rank " + peer + " has ended before.");
    }
    try (FileChannel channel =
        FileChannel.open(file(folder, peer), StandardOpenOption.READ, StandardOpenOption.WRITE)) {
      long ring = (long) Ring.HEADER_BYTES + ringBytes;
      Ring attached =
          new Ring(channel.map(FileChannel.MapMode.READ_WRITE, slot(rank, peer) * ring, ring));
      attached.attach();
      return attached;
    }
  }

  private Ring ring(ByteBuffer file, int peer) {
    int bytes = Ring.HEADER_BYTES + ringBytes;
    return new Ring(file.slice(Math.multiplyExact(slot(peer, rank), bytes), bytes));
  }

  /** Which ring of the owner's file is the writer's. */
  private static int slot(int writer, int owner) {
    return writer < owner ? writer : writer - 1;
  }

  /** A rank sends itself nothing. */
  private Ring unused() {
    return new Ring(ByteBuffer.allocateDirect(Ring.HEADER_BYTES + SMALLEST_RING));
  }

  /** Deletes this rank's file; what is mapped stays usable. */
  @Override
  public void close() throws IOException {
    Files.deleteIfExists(file(folder, rank));
    try {
      Files.deleteIfExists(folder);
    } catch (IOException e) {
      // Not empty: the last one removes it.
    }
  }
}
