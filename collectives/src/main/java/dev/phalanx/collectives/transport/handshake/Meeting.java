package dev.phalanx.collectives.transport.handshake;

import java.util.concurrent.CompletableFuture;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * How two ranks of a group come to one connection, whoever of them needs it first. Where both open
 * one at the same time, that of the later rank stays. Any thread.
 *
 * @param <C> a connection
 */
public final class Meeting<C> {
  /** What the listening side tells one that has come. */
  public record Answer(Kind kind, String reason) {
    /** In the order of their numbers on the wire. */
    public enum Kind {
      WELCOME,
      /** The other side's own connection is on its way. */
      CROSSED,
      /** This rank has left the group, or cannot go on. */
      OVER
    }

    static final Answer WELCOME = new Answer(Kind.WELCOME, "");
    static final Answer CROSSED = new Answer(Kind.CROSSED, "");
  }

  private final CompletableFuture<C> met = new CompletableFuture<>();
  private boolean isOpening; // guarded by this, as all below
  private boolean isPromised;
  private @Nullable String over;
  private final Consumer<String> whenLeft;

  /** One that nobody keeps a list of. */
  public Meeting() {
    this(reason -> {});
  }

  /**
   * @param whenLeft hears why it is over when nobody needs it any more
   */
  Meeting(Consumer<String> whenLeft) {
    this.whenLeft = whenLeft;
  }

  /** The connection, as soon as there is one. */
  public CompletableFuture<C> met() {
    return met;
  }

  /** This rank needs the connection; {@code open} is called where it must open one itself. */
  public CompletableFuture<C> want(Consumer<CompletableFuture<C>> open) {
    boolean mustOpen;
    synchronized (this) { // the event loop takes arrivals
      mustOpen = !isOpening && !isPromised;
      isOpening |= mustOpen;
    }
    if (mustOpen) {
      open.accept(met);
    }
    return met;
  }

  /** The peer has come with a connection of its own. */
  public synchronized Answer arrive(boolean isFromLaterRank) {
    if (over != null) {
      return new Answer(Answer.Kind.OVER, over);
    }
    if (isPromised || (isOpening && !isFromLaterRank)) {
      return Answer.CROSSED;
    }
    isPromised = true;
    return Answer.WELCOME;
  }

  /** From now on whoever comes hears this reason; the first one counts. */
  public synchronized void end(String reason) {
    if (over == null) {
      over = reason;
    }
  }

  /** {@link #end}, by a rank that closes the connection itself, now or as soon as it opens. */
  public void leave(String reason) {
    String first;
    synchronized (this) { // not held while others are told
      end(reason);
      first = over == null ? reason : over;
    }
    whenLeft.accept(first);
  }
}
