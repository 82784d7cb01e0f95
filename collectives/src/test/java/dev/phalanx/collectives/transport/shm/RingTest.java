package dev.phalanx.collectives.transport.shm;

import static org.assertj.core.api.Assertions.assertThat;

import dev.phalanx.collectives.ReduceOperation;
import dev.phalanx.collectives.transport.Call;
import dev.phalanx.collectives.transport.Message;
import dev.phalanx.collectives.transport.Operation;
import dev.phalanx.tensor.DType;
import java.nio.ByteBuffer;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.List;
import java.util.Random;
import net.jqwik.api.Example;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.IntRange;
import net.jqwik.api.constraints.Size;

final class RingTest {
  private static final int CAPACITY = 1 << 14;

  private final ByteBuffer memory = ByteBuffer.allocateDirect(Ring.HEADER_BYTES + CAPACITY);
  private final Ring writer = new Ring(memory);
  private final Ring reader = new Ring(memory.duplicate());

  private static Call call(long sequence) {
    return new Call(
        sequence, Operation.ALL_REDUCE, DType.FLOAT32, ReduceOperation.SUM, -1, sequence * 3);
  }

  private static ByteBuffer payload(int number, int bytes) {
    ByteBuffer payload = ByteBuffer.allocateDirect(bytes);
    byte[] content = new byte[bytes];
    new Random(number).nextBytes(content);
    return payload.put(content).flip();
  }

  /** Written and read in any rhythm, messages come out as they went in, in order. */
  @Property(tries = 200)
  void messagesComeOutAsTheyWentIn(
      @ForAll @Size(min = 1, max = 200) List<@IntRange(max = CAPACITY / 4) Integer> sizes,
      @ForAll long seed) {
    Random random = new Random(seed);
    Deque<Integer> inside = new ArrayDeque<>();
    int written = 0;
    while (written < sizes.size() || !inside.isEmpty()) {
      boolean hasWritten = false;
      if (written < sizes.size() && (inside.isEmpty() || random.nextBoolean())) {
        ByteBuffer payload = payload(written, sizes.get(written));
        hasWritten = writer.write(call(written), written, payload);
        assertThat(payload.remaining())
            .as("the payload is left alone")
            .isEqualTo(sizes.get(written));
        if (hasWritten) {
          inside.add(written++);
        } else {
          assertThat(inside).as("an empty ring takes any payload").isNotEmpty();
        }
      }
      if (!hasWritten && !inside.isEmpty()) {
        int expected = inside.remove();
        try (Message message = reader.poll()) {
          assertThat(message).isNotNull();
          assertThat(message.call()).isEqualTo(call(expected));
          assertThat(message.piece()).isEqualTo(expected);
          assertThat(message.payload()).isEqualTo(payload(expected, sizes.get(expected)));
        }
      }
    }
    assertThat(reader.poll()).isNull();
  }

  @Example
  void anEndComesAfterTheMessages() {
    assertThat(reader.isAttached()).isFalse();
    writer.attach();
    assertThat(reader.isAttached()).isTrue();
    assertThat(reader.endReason()).isNull();
    writer.write(call(1), 0, payload(1, 100));
    writer.leave();
    assertThat(reader.poll()).isNotNull();
    assertThat(reader.endReason()).isEqualTo("has left the group");
  }

  @Example
  void theFirstReasonStays() {
    writer.attach();
    writer.fail("it is Monday – ".repeat(1000));
    writer.fail("another");
    writer.leave();
    assertThat(reader.endReason()).startsWith("cannot go on: it is Monday – it is");
    assertThat(reader.endReason()).hasSizeLessThan(Ring.HEADER_BYTES);
  }
}
