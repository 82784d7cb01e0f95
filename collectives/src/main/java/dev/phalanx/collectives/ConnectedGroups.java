package dev.phalanx.collectives;

import dev.phalanx.collectives.rendezvous.Members;
import dev.phalanx.collectives.rendezvous.Membership;
import dev.phalanx.collectives.rendezvous.RankAddress;
import dev.phalanx.collectives.rendezvous.RendezvousClient;
import dev.phalanx.collectives.security.Credentials;
import dev.phalanx.collectives.security.Encryption;
import dev.phalanx.collectives.transport.Deadline;
import dev.phalanx.collectives.transport.Endpoint;
import dev.phalanx.collectives.transport.GroupId;
import dev.phalanx.collectives.transport.Link;
import dev.phalanx.collectives.transport.SharedMemory;
import dev.phalanx.collectives.transport.Topology;
import dev.phalanx.collectives.transport.Transport;
import dev.phalanx.collectives.transport.grpc.GrpcEndpoint;
import dev.phalanx.collectives.transport.handshake.ListeningSide;
import dev.phalanx.collectives.transport.shm.SharedMemoryEndpoint;
import dev.phalanx.collectives.transport.tcp.TcpEndpoint;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.UnaryOperator;
import java.util.stream.IntStream;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * A job whose ranks are processes, seen from one of them. They meet at a {@code RendezvousServer},
 * then talk over shared memory within a host and over TCP between hosts, or as they are told.
 */
public final class ConnectedGroups implements ProcessGroups {
  private static final Logger LOGGER = LoggerFactory.getLogger(ConnectedGroups.class);
  private static final String WORLD = "world";

  /**
   * As whom and where a rank joins.
   *
   * @param fingerprint of what all ranks must have in common, the plan above all
   * @param rendezvous where the job's server listens
   * @param address where this rank accepts connections; the loopback address on one host
   * @param credentials where they are encrypted, ranks of different hosts talk over gRPC
   */
  public record Joining(
      int rank,
      int worldSize,
      String fingerprint,
      InetSocketAddress rendezvous,
      InetAddress address,
      Credentials credentials,
      TransportKind transport) {
    /**
     * @throws IllegalArgumentException where TCP is to be encrypted, or the address is the wildcard
     */
    public Joining {
      ListeningSide.requireOneAddress(address);
      if (transport == TransportKind.TCP && credentials.encryption() != Encryption.NONE) {
        throw new IllegalArgumentException(
            "Connections over TCP are not encrypted; encrypted ones are gRPC's");
      }
    }
  }

  private final Joining joining;
  private final GroupOptions options;
  private final Endpoint endpoint;
  private final Members members;
  private final GroupNumbers numbers = new GroupNumbers();
  private final Map<Integer, String> losses = new ConcurrentHashMap<>(); // by rank of the job
  private final OpenGroups open = new OpenGroups();
  private volatile boolean isClosed;

  private ConnectedGroups(
      Joining joining, GroupOptions options, Endpoint endpoint, Members members) {
    this.joining = joining;
    this.options = options;
    this.endpoint = endpoint;
    this.members = members;
    members.onLost(lost -> lost(lost.rank(), lost.reason()));
    members.watch(open);
  }

  /**
   * Meets the job's other ranks; blocks until all have come.
   *
   * @throws IllegalArgumentException where the options have several streams and the ranks talk over
   *     gRPC
   * @throws IOException where no port can be listened on
   * @throws CollectiveException where the ranks do not come together; a {@code RendezvousException}
   *     as a rule
   */
  public static ConnectedGroups join(Joining joining, GroupOptions options)
      throws IOException, InterruptedException {
    return join(joining, options, address -> address);
  }

  /**
   * @param announced where others reach what listens at an address here
   */
  static ConnectedGroups join(
      Joining joining, GroupOptions options, UnaryOperator<InetSocketAddress> announced)
      throws IOException, InterruptedException {
    long start = System.nanoTime();
    Endpoint endpoint = listen(joining, options.streams());
    LOGGER.info(
        "rank {}/{}: listens on {} after {} ms",
        joining.rank(),
        joining.worldSize(),
        endpoint.address(),
        (System.nanoTime() - start) / 1_000_000);
    try {
      Members members =
          RendezvousClient.join(
              joining.rendezvous(),
              new Membership(
                  joining.rank(),
                  joining.worldSize(),
                  joining.fingerprint(),
                  announced.apply(endpoint.address()),
                  sharedMemory(joining)),
              joining.credentials(),
              options.timeout());
      return new ConnectedGroups(joining, options, endpoint, members);
    } catch (RuntimeException | InterruptedException e) {
      endpoint.close();
      throw e;
    }
  }

  private static Endpoint listen(Joining joining, int streams) throws IOException {
    String thread = "rank-" + joining.rank() + "-";
    Credentials credentials = joining.credentials();
    if (joining.transport() == TransportKind.GRPC || credentials.encryption() != Encryption.NONE) {
      if (streams > 1) {
        throw new IllegalArgumentException(
            "Over gRPC, which encrypted ranks talk over, two ranks have one stream, not "
                + streams);
      }
      return GrpcEndpoint.listen(joining.address(), credentials, thread + "grpc");
    }
    return TcpEndpoint.listen(joining.address(), credentials.token(), thread + "tcp", streams);
  }

  /** What tells ranks that can share memory with this one from others. */
  private static Optional<String> sharedMemory(Joining joining) {
    if (joining.transport() == TransportKind.TCP || joining.transport() == TransportKind.GRPC) {
      return Optional.empty();
    }
    Optional<String> host = SharedMemoryEndpoint.hostIdentity();
    if (host.isPresent() && !SharedMemoryEndpoint.hasRoomFor(joining.worldSize(), host.get())) {
      LOGGER.warn(
          "rank {}: there is too little shared memory for {} ranks, so it talks over a network."
              + " Give the host or container more of it.",
          joining.rank(),
          joining.worldSize());
      return Optional.empty();
    }
    return host;
  }

  private void lost(int rank, String reason) {
    losses.putIfAbsent(rank, reason);
    open.lost(rank, reason);
  }

  @Override
  public int rank() {
    return joining.rank();
  }

  @Override
  public int worldSize() {
    return joining.worldSize();
  }

  @Override
  public Communicator world() throws IOException, InterruptedException {
    return group(WORLD, IntStream.range(0, worldSize()).boxed().toList());
  }

  @Override
  public Communicator group(String name, List<Integer> ranks)
      throws IOException, InterruptedException {
    GroupMembers group = new GroupMembers(name, ranks, rank(), worldSize());
    if (isClosed) {
      throw new CollectiveException(
          "rank "
              + rank()
              + "/"
              + worldSize()
              + ": group "
              + name
              + " cannot be made, for this rank has left the job. Make groups before it is"
              + " closed.");
    }
    GroupId id = numbers.next(group);
    Transport transport = transport(group, id);
    open.add(id, group, transport);
    losses.forEach(this::lost); // of before it was there
    return new QueuedCommunicator(group, transport, options, members.statusBoard());
  }

  private Transport transport(GroupMembers group, GroupId id)
      throws IOException, InterruptedException {
    long start = System.nanoTime();
    List<RankAddress> all = group.ranks().stream().map(members.ranks()::get).toList();
    RankAddress self = all.get(group.ownIndex());
    List<Integer> hosts = hosts(all);
    List<Integer> neighbours =
        IntStream.range(0, all.size())
            .filter(peer -> canShareMemory(all.get(peer), self))
            .boxed()
            .toList();
    boolean isOneHost = neighbours.size() == all.size();
    if (joining.transport() == TransportKind.SHM && !isOneHost) {
      throw new CollectiveException(
          "rank "
              + rank()
              + ": communication.transport is shm, but not all ranks can share memory with it."
              + " Write 'transport: auto' or 'tcp'.");
    }
    List<Link> links = List.of();
    if (!isOneHost || all.size() == 1) {
      List<InetSocketAddress> addresses = all.stream().map(RankAddress::address).toList();
      links = endpoint.links(id, group.ownIndex(), addresses, options.timeout());
    }
    Optional<SharedMemory> blocks = Optional.empty();
    if (neighbours.size() > 1) {
      try (SharedMemoryEndpoint memory =
          SharedMemoryEndpoint.create(
              joining.credentials().token(),
              id,
              neighbours.indexOf(group.ownIndex()),
              neighbours.size(),
              self.sharedMemory().orElseThrow())) {
        List<Link> near =
            memory.connect(
                Deadline.after(options.timeout()),
                new SharedMemoryEndpoint.Peers(
                    group.self() + " in group " + group.name(),
                    local -> group.inTheJob(neighbours.get(local)),
                    local ->
                        Optional.ofNullable(losses.get(group.inTheJob(neighbours.get(local))))));
        links = isOneHost ? near : mixed(links, neighbours, near);
        blocks = isOneHost ? Optional.of(memory.blocks()) : Optional.empty();
      }
    }
    LOGGER.info(
        "rank {}/{}: group {} of ranks {} is set up after {} ms, {} of them over shared memory",
        rank(),
        worldSize(),
        group.name(),
        group.ranks(),
        (System.nanoTime() - start) / 1_000_000,
        Math.max(0, neighbours.size() - 1));
    return new Transport(group.ownIndex(), topology(all, hosts), links, blocks);
  }

  private static List<Link> mixed(List<Link> far, List<Integer> neighbours, List<Link> near) {
    List<Link> links = new ArrayList<>(far);
    for (int local = 0; local < near.size(); local++) {
      Link unused = links.set(neighbours.get(local), near.get(local));
      unused.leave(Deadline.after(Duration.ZERO)); // or its endpoint would keep a place for it
    }
    return links;
  }

  private static boolean canShareMemory(RankAddress one, RankAddress other) {
    return one.sharedMemory().isPresent() && one.sharedMemory().equals(other.sharedMemory());
  }

  /**
   * Ranks that share memory, or have one address, are on one host, whose number is that of its
   * first rank.
   */
  private static List<Integer> hosts(List<RankAddress> all) {
    List<Integer> hosts = new ArrayList<>();
    for (RankAddress rank : all) {
      int host = 0;
      while (host < hosts.size() && !isSameHost(all.get(host), rank)) {
        host++;
      }
      hosts.add(host < hosts.size() ? hosts.get(host) : host);
    }
    return hosts;
  }

  private static boolean isSameHost(RankAddress one, RankAddress other) {
    return canShareMemory(one, other)
        || one.address().getAddress().equals(other.address().getAddress());
  }

  private Topology topology(List<RankAddress> all, List<Integer> hosts) {
    boolean isOneHost = hosts.stream().distinct().count() == 1;
    boolean shareWithinHosts =
        IntStream.range(0, all.size())
            .allMatch(rank -> canShareMemory(all.get(rank), all.get(hosts.get(rank))));
    int mostSharing = 1;
    int piece = endpoint.pieceBytes();
    for (RankAddress rank : all) {
      int sharing = (int) all.stream().filter(other -> canShareMemory(rank, other)).count();
      if (sharing > 1) {
        String host = rank.sharedMemory().orElseThrow();
        piece = Math.min(piece, SharedMemoryEndpoint.pieceBytes(sharing, host));
      }
      mostSharing = Math.max(mostSharing, sharing);
    }
    String name = endpoint.name();
    if (shareWithinHosts && isOneHost) {
      name = "shm";
    } else if (shareWithinHosts && mostSharing > 1) {
      name = "shm+" + endpoint.name();
    }
    return new Topology(
        name,
        hosts,
        shareWithinHosts ? SharedMemoryEndpoint.COST : endpoint.cost(),
        endpoint.cost(),
        piece);
  }

  @Override
  public void close() {
    isClosed = true;
    endpoint.close();
    members.close();
  }
}
