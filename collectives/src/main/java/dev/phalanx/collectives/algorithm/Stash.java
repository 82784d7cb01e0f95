package dev.phalanx.collectives.algorithm;

import dev.phalanx.collectives.transport.Call;
import dev.phalanx.collectives.transport.Message;
import java.nio.ByteBuffer;
import java.util.ArrayDeque;
import java.util.HashMap;
import java.util.Map;
import java.util.Queue;
import org.jspecify.annotations.Nullable;

/**
 * Transfers that came before anybody asked for them: of another tag, or while an operation of the
 * whole group was under way. One thread.
 */
final class Stash {
  private record Key(int peer, int tag) {}

  private record Kept(Call call, int piece, ByteBuffer payload) implements Message {
    @Override
    public void close() {}
  }

  private final Map<Key, Queue<Message>> kept = new HashMap<>();

  /** Copies a message and closes it. */
  void keep(int peer, Message message) {
    try (message) {
      ByteBuffer payload = message.payload();
      ByteBuffer copy = ByteBuffer.allocate(payload.remaining()).order(payload.order());
      copy.put(payload.duplicate()).flip();
      kept.computeIfAbsent(new Key(peer, message.call().tag()), absent -> new ArrayDeque<>())
          .add(new Kept(message.call(), message.piece(), copy));
    }
  }

  /** The oldest message of a peer with this tag. */
  @Nullable Message take(int peer, int tag) {
    Key key = new Key(peer, tag);
    Queue<Message> messages = kept.get(key);
    Message oldest = messages == null ? null : messages.poll();
    if (messages != null && messages.isEmpty()) {
      kept.remove(key);
    }
    return oldest;
  }
}
