package dev.phalanx.parallelism.pipeline;

import dev.phalanx.collectives.Communicator;
import dev.phalanx.collectives.PointToPoint;
import dev.phalanx.collectives.device.DeviceCollectives;
import dev.phalanx.collectives.device.Waiting;
import dev.phalanx.tensor.Arena;
import dev.phalanx.tensor.Tensor;
import java.util.ArrayDeque;
import java.util.Comparator;
import java.util.Deque;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import org.jspecify.annotations.Nullable;

/**
 * Runs one rank's part of any schedule. What a stage gives to the next one is sent while the rank
 * computes on; what it needs next is received while it still computes what comes before.
 *
 * <p>Every message has a tag of its own, so that a table may receive in another order than is sent.
 * Used by the thread that trains.
 */
public final class PipelineExecutor {
  /**
   * An activation or a gradient, on its way to a stage.
   *
   * @param stage that it goes to
   */
  private record Message(int stage, boolean isGradient, int microBatch) {}

  private record Arrival(Tensor tensor, DeviceCollectives.Pending pending) {}

  private record Departure(Tensor tensor, DeviceCollectives.Pending pending) {}

  private record Way(DeviceCollectives ranks, int peer) {}

  private final ScheduleTable table;
  private final int rank;
  private final Map<StageChannel, Way> ways = new HashMap<>();
  private final Map<Message, Arrival> arriving = new HashMap<>();
  private final Deque<Departure> departing = new ArrayDeque<>();
  private final Waiting waiting = new Waiting();

  /**
   * @param rank this one's place in the pipeline
   * @param host an arena on the CPU, for copies where a communicator cannot read the device
   * @param channels the groups of all channels that begin or end here, see {@link #channels}
   */
  public PipelineExecutor(
      ScheduleTable table, int rank, Arena host, Map<StageChannel, Communicator> channels) {
    this.table = table;
    this.rank = rank;
    channels.forEach(
        (channel, ranks) ->
            ways.put(
                channel, new Way(new DeviceCollectives(host, ranks), StageChannel.peer(ranks))));
  }

  /** All channels that a table needs, in one order on every rank. */
  public static List<StageChannel> channels(ScheduleTable table) {
    Set<StageChannel> channels =
        new TreeSet<>(
            Comparator.comparingInt(StageChannel::from)
                .thenComparingInt(StageChannel::to)
                .thenComparing(StageChannel::isGradient));
    for (int stage = 1; stage < table.stages(); stage++) {
      int before = table.rankOf(stage - 1);
      int after = table.rankOf(stage);
      if (before != after) {
        channels.add(new StageChannel(before, after, false));
        channels.add(new StageChannel(after, before, true));
      }
    }
    return List.copyOf(channels);
  }

  /** Time that the training thread has waited for other stages. */
  public long exposedNanos() {
    return waiting.nanos();
  }

  /** Computes this rank's part of the table. */
  public void run(StageWork work) {
    run(table.ranks().get(rank), work);
  }

  /**
   * Computes actions one after the other; when it returns all that was sent has left.
   *
   * @param actions of stages of this rank; the ranks of their neighbours run what belongs to them
   */
  public void run(List<Action> actions, StageWork work) {
    for (int i = 0; i < actions.size(); i++) {
      Action action = actions.get(i);
      expect(action, work);
      if (i + 1 < actions.size()) {
        expect(actions.get(i + 1), work); // not earlier: a receive has a deadline from its start
      }
      perform(action, work);
      while (departing.size() > 1 && departing.peek().pending().isDone()) {
        settle(departing.remove());
      }
    }
    while (!departing.isEmpty()) {
      settle(departing.remove());
    }
  }

  private void perform(Action action, StageWork work) {
    int stage = action.stage();
    int microBatch = action.microBatch();
    switch (action.kind()) {
      case FORWARD -> {
        Tensor output = work.forward(stage, microBatch, arrived(action));
        if (output != null) {
          pass(new Message(stage + 1, false, microBatch), output, stage);
        }
      }
      case BACKWARD, BACKWARD_INPUT -> {
        Tensor gradient = work.backward(action, arrived(action));
        if (gradient != null) {
          pass(new Message(stage - 1, true, microBatch), gradient, stage);
        }
      }
      case BACKWARD_WEIGHT -> work.backwardWeight(stage, microBatch);
    }
  }

  /** What an action needs from another stage; null where it needs nothing. */
  private @Nullable Message need(Action action) {
    return switch (action.kind()) {
      case FORWARD ->
          action.stage() == 0 ? null : new Message(action.stage(), false, action.microBatch());
      case BACKWARD, BACKWARD_INPUT ->
          action.stage() == table.stages() - 1
              ? null
              : new Message(action.stage(), true, action.microBatch());
      case BACKWARD_WEIGHT -> null;
    };
  }

  private int sender(Message message) {
    return table.rankOf(message.isGradient() ? message.stage() + 1 : message.stage() - 1);
  }

  /** Begins to receive what an action needs of another rank. */
  private void expect(Action action, StageWork work) {
    Message message = need(action);
    if (message == null || arriving.containsKey(message) || sender(message) == rank) {
      return;
    }
    Tensor tensor = work.allocate(message.microBatch());
    Way way = way(new StageChannel(sender(message), rank, message.isGradient()));
    arriving.put(
        message,
        new Arrival(
            tensor,
            way.ranks()
                .exchange(List.of(new PointToPoint.Receive(tensor, way.peer(), tag(message))))));
  }

  private @Nullable Tensor arrived(Action action) {
    Message message = need(action);
    if (message == null) {
      return null;
    }
    Arrival arrival = arriving.remove(message);
    if (arrival == null) {
      throw new IllegalStateException(
          action + " on rank " + rank + " comes before what it needs of its own rank");
    }
    waiting.awaitInPass(arrival.pending()::await);
    return arrival.tensor();
  }

  private void pass(Message message, Tensor tensor, int fromStage) {
    int receiver = table.rankOf(message.stage());
    if (receiver == rank) {
      arriving.put(message, new Arrival(tensor, DeviceCollectives.DONE));
      return;
    }
    Way way = way(new StageChannel(table.rankOf(fromStage), receiver, message.isGradient()));
    departing.add(
        new Departure(
            tensor,
            way.ranks()
                .exchange(List.of(new PointToPoint.Send(tensor, way.peer(), tag(message))))));
  }

  private void settle(Departure departure) {
    waiting.awaitInPass(departure.pending()::await);
    departure.tensor().close();
  }

  private int tag(Message message) {
    return Math.addExact(Math.multiplyExact(message.microBatch(), table.stages()), message.stage());
  }

  private Way way(StageChannel channel) {
    Way way = ways.get(channel);
    if (way == null) {
      throw new IllegalStateException("There is no channel for " + channel.label());
    }
    return way;
  }
}
