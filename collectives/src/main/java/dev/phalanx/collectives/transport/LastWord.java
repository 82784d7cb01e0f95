package dev.phalanx.collectives.transport;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;

/**
 * What a rank tells a peer before nothing more comes: why it cannot go on, or farewell.
 *
 * @param payload the reason in UTF-8; empty for a farewell
 */
public record LastWord(Frame frame, ByteBuffer payload) {
  private static final int LONGEST_REASON_BYTES = 8192;

  public static LastWord abort(String reason) {
    byte[] text = reason.getBytes(StandardCharsets.UTF_8);
    ByteBuffer payload =
        ByteBuffer.wrap(text, 0, Math.min(text.length, LONGEST_REASON_BYTES)).slice();
    return new LastWord(Frame.control(Frame.ABORT, payload.remaining()), payload);
  }

  public static LastWord farewell() {
    return new LastWord(Frame.control(Frame.FAREWELL, 0), ByteBuffer.allocate(0));
  }

  /** Why nothing will come from the sender, as a clause that goes on after the rank's name. */
  public String reason() {
    return frame.kind() == Frame.ABORT
        ? cannotGoOn(StandardCharsets.UTF_8.decode(payload.duplicate()).toString())
        : Link.LEFT;
  }

  public static String cannotGoOn(String reason) {
    return "cannot go on: " + reason;
  }
}
