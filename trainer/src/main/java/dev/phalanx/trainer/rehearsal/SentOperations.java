package dev.phalanx.trainer.rehearsal;

import java.util.Collections;
import java.util.Map;
import java.util.TreeMap;

/** How often a rank takes part in which operation, and what it sends for them. */
public final class SentOperations {
  /**
   * Of one kind of operation.
   *
   * @param messages that the transport carries: larger payloads go in pieces
   */
  public record Sent(long count, long messages, long bytes) {
    Sent plus(Sent other) {
      return new Sent(count + other.count, messages + other.messages, bytes + other.bytes);
    }

    Sent minus(Sent other) {
      return new Sent(count - other.count, messages - other.messages, bytes - other.bytes);
    }
  }

  private static final Sent NOTHING = new Sent(0, 0, 0);

  private final Map<String, Sent> byName = new TreeMap<>();

  void add(String operation, long messages, long bytes) {
    byName.merge(operation, new Sent(1, messages, bytes), Sent::plus);
  }

  void add(SentOperations others) {
    others.byName.forEach((operation, sent) -> byName.merge(operation, sent, Sent::plus));
  }

  /** What is left without a part of it, as an earlier state is one. */
  public SentOperations without(SentOperations part) {
    SentOperations difference = new SentOperations();
    byName.forEach(
        (operation, sent) -> {
          Sent before = part.byName.getOrDefault(operation, NOTHING);
          if (!sent.equals(before)) {
            difference.byName.put(operation, sent.minus(before));
          }
        });
    return difference;
  }

  /** By the operation's name, {@code all_reduce} for instance. */
  public Map<String, Sent> byName() {
    return Collections.unmodifiableMap(byName);
  }

  /** Operations of all kinds. */
  public long count() {
    return byName.values().stream().mapToLong(Sent::count).sum();
  }

  /** Messages of all kinds of operations. */
  public long messages() {
    return byName.values().stream().mapToLong(Sent::messages).sum();
  }

  public long bytes() {
    return byName.values().stream().mapToLong(Sent::bytes).sum();
  }
}
