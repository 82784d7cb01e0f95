package dev.phalanx.collectives.transport.shm;

import dev.phalanx.collectives.CollectiveException;
import dev.phalanx.collectives.CollectiveTimeoutException;
import dev.phalanx.collectives.security.JobToken;
import dev.phalanx.collectives.transport.Deadline;
import dev.phalanx.collectives.transport.GroupId;
import dev.phalanx.collectives.transport.Link;
import dev.phalanx.collectives.transport.LinkCost;
import dev.phalanx.collectives.transport.SharedMemory;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.MappedByteBuffer;
import java.nio.file.NoSuchFileException;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.IntFunction;
import java.util.function.IntUnaryOperator;

/**
 * One rank's file of incoming rings, which the other ranks of the host find and map.
 *
 * <pre>
 *   create (each rank) --> connect: waits until all have created, maps, and waits until all have mapped
 * </pre>
 */
public final class SharedMemoryEndpoint implements AutoCloseable {
  /** Of a message through a ring, on a usual machine. */
  public static final LinkCost COST = new LinkCost(400, 0.15);

  /**
   * Several times a core's second cache: where two cores have no third one in common, a line that
   * is written again while the reader's cache still holds it is slower than one from memory.
   */
  private static final int LARGEST_RING = 8 << 20;

  private static final int SMALLEST_RING = 1 << 16;

  /** All rings of a group on a host. */
  private static final long BUDGET_BYTES = 32L << 20;

  /**
   * That part of a host's shared memory at most: containers often have 64 MiB of it, and a job may
   * have dozens of groups.
   */
  private static final int PART_OF_ALL = 64;

  /**
   * What is known of the group's ranks on this host.
   *
   * @param self this rank and the group, as messages name them
   * @param names by number on this host, the number that messages name
   * @param losses by number on this host, why a rank will not come, as far as that is known
   */
  public record Peers(String self, IntUnaryOperator names, IntFunction<Optional<String>> losses) {}

  private final SharedFolder folder;
  private final int rank;
  private final int size;
  private final int ringBytes;
  private final MappedByteBuffer inbox;

  private SharedMemoryEndpoint(
      SharedFolder folder, int rank, int size, int ringBytes, MappedByteBuffer inbox) {
    this.folder = folder;
    this.rank = rank;
    this.size = size;
    this.ringBytes = ringBytes;
    this.inbox = inbox;
  }

  /**
   * What tells this host, as far as shared memory is concerned, from all others, and how much of it
   * there is: ranks with the same one can share memory. Empty where there is none.
   */
  public static Optional<String> hostIdentity() {
    return SharedFolder.hostIdentity();
  }

  /**
   * Whether there is as much shared memory as the rings of {@code size} ranks take.
   *
   * @param identity this host's
   */
  public static boolean hasRoomFor(int size, String identity) {
    int ring = ringBytes(size, SharedFolder.totalBytes(identity));
    long needed = (long) size * (size - 1) * (Ring.HEADER_BYTES + ring);
    return SharedFolder.usableBytes() >= needed;
  }

  /**
   * The longest payload between {@code size} ranks of a host.
   *
   * @param identity the host's
   */
  public static int pieceBytes(int size, String identity) {
    return Ring.longestPayload(ringBytes(size, SharedFolder.totalBytes(identity)));
  }

  /**
   * Makes this rank's rings, all of their memory taken.
   *
   * @param token the job's; the folder's name follows from it
   * @param rank this rank's number among those of the group on this host, of {@code size}
   * @param identity this host's, as all its ranks gave it at the rendezvous
   * @throws IOException where there is no shared memory or not enough
   */
  public static SharedMemoryEndpoint create(
      JobToken token, GroupId group, int rank, int size, String identity) throws IOException {
    SharedFolder folder = new SharedFolder(token, group);
    int ringBytes = ringBytes(size, SharedFolder.totalBytes(identity));
    long bytes = Math.max(1, size - 1) * (long) (Ring.HEADER_BYTES + ringBytes);
    return new SharedMemoryEndpoint(
        folder, rank, size, ringBytes, folder.create(name(rank), bytes));
  }

  /** Removes what a job leaves whose ranks on this host have ended before they had connected. */
  public static void cleanUp(JobToken token) {
    SharedFolder.cleanUp(token);
  }

  /**
   * The same in a process whose ranks may be connecting just now: what they make later in this job
   * is refused.
   */
  public static void cleanUpBesideRanks(JobToken token) {
    SharedFolder.cleanUpBesideRanks(token);
  }

  private static String name(int rank) {
    return "rank-" + rank;
  }

  /**
   * The same on all ranks of a host, which have the same shared memory.
   *
   * @param hostBytes of all shared memory
   */
  static int ringBytes(int size, long hostBytes) {
    long budget = Math.min(BUDGET_BYTES, hostBytes / PART_OF_ALL);
    long each = budget / Math.max(1, (long) size * (size - 1));
    return Math.max(SMALLEST_RING, (int) Math.min(LARGEST_RING, Long.highestOneBit(each)));
  }

  /**
   * Maps the rings to all others and waits until they have mapped theirs. Where that fails, what
   * any rank has made for this group is removed.
   *
   * @return by number on this host; what stands at this rank's own place is not used
   * @throws CollectiveTimeoutException where a rank has not come in time; the message names it
   * @throws CollectiveException where a rank is lost
   */
  public List<Link> connect(Deadline deadline, Peers peers)
      throws IOException, InterruptedException {
    boolean isConnected = false;
    try {
      List<Link> links = map(deadline, peers);
      isConnected = true;
      return links;
    } finally {
      if (isConnected) {
        close();
      } else {
        folder.removeAll(); // this group will never be, and who is lost removes nothing
      }
    }
  }

  private List<Link> map(Deadline deadline, Peers peers) throws IOException, InterruptedException {
    List<Link> links = new ArrayList<>();
    List<Ring> incoming = new ArrayList<>();
    for (int peer = 0; peer < size; peer++) {
      Ring own = peer == rank ? unused() : ring(inbox, peer);
      incoming.add(own);
      links.add(
          new SharedMemoryLink(peer, peer == rank ? unused() : attach(peer, deadline, peers), own));
    }
    for (int peer = 0; peer < size; peer++) {
      while (peer != rank && !incoming.get(peer).isAttached()) {
        pause(peer, deadline, peers);
      }
    }
    return links;
  }

  private Ring attach(int peer, Deadline deadline, Peers peers)
      throws IOException, InterruptedException {
    long ring = (long) Ring.HEADER_BYTES + ringBytes;
    while (true) {
      if (folder.has(name(peer))) {
        try {
          Ring attached = new Ring(folder.attach(name(peer), slot(rank, peer) * ring, ring));
          attached.attach();
          return attached;
        } catch (NoSuchFileException e) {
          // Another rank has given up and removed it just now: why, this one hears as well.
        }
      }
      pause(peer, deadline, peers);
    }
  }

  private void pause(int peer, Deadline deadline, Peers peers) throws InterruptedException {
    for (int other = 0; other < size; other++) { // without any of them this group will never be
      Optional<String> loss = other == rank ? Optional.empty() : peers.losses().apply(other);
      if (loss.isPresent()) {
        throw new CollectiveException(connecting(peers, other) + loss.get());
      }
    }
    if (deadline.hasPassed()) {
      throw new CollectiveTimeoutException(
          connecting(peers, peer)
              + "has not come to share memory with it within "
              + deadline.text()
              + ". Look whether that rank runs, and makes its groups in the same order.");
    }
    Thread.sleep(0, 50_000);
  }

  private static String connecting(Peers peers, int peer) {
    return peers.self() + ", connecting: rank " + peers.names().applyAsInt(peer) + " ";
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
  private static Ring unused() {
    return new Ring(ByteBuffer.allocateDirect(Ring.HEADER_BYTES + SMALLEST_RING));
  }

  /** Makes memory that all ranks of the group can read, where all of them are on this host. */
  public SharedMemory blocks() {
    return new SharedMemoryBlocks(folder, rank);
  }

  /** Deletes this rank's file; what is mapped stays usable. */
  @Override
  public void close() throws IOException {
    folder.hide(name(rank));
  }
}
