package dev.phalanx.collectives.transport;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.List;

/**
 * Names a group of ranks on the wire.
 *
 * @param number the same on all its ranks, and no other group's
 * @param generation how often a group of this number was made before: connections of one are none
 *     of another
 */
public record GroupId(long number, int generation) {
  /** All ranks of a job that has not been restarted. */
  public static final GroupId WORLD = new GroupId(0, 0);

  /** The group of this name and these ranks of the world. */
  public static GroupId of(String name, List<Integer> ranks, int generation) {
    try {
      byte[] digest =
          MessageDigest.getInstance("SHA-256")
              .digest((name + ranks).getBytes(StandardCharsets.UTF_8));
      return new GroupId(ByteBuffer.wrap(digest).getLong(), generation);
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("Every Java has SHA-256", e);
    }
  }

  @Override
  public String toString() {
    return "group " + Long.toHexString(number) + " generation " + generation;
  }
}
