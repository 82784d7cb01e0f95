package dev.phalanx.collectives.transport;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.phalanx.collectives.ReduceOperation;
import dev.phalanx.tensor.DType;
import java.nio.ByteBuffer;
import java.util.zip.CRC32C;
import org.junit.jupiter.api.Test;

class FrameTest {
  private static final Call ALL_REDUCE =
      new Call(7, Operation.ALL_REDUCE, DType.FLOAT32, ReduceOperation.SUM, -1, 1000);

  private static Frame arrived(Frame frame, byte[] payload) {
    return Frame.read(frame.sealed(ByteBuffer.wrap(payload), new CRC32C()));
  }

  @Test
  void whatIsSealedIsReadBack() {
    Frame frame = new Frame(Frame.DATA, 3, 5, 0, ALL_REDUCE);
    byte[] payload = {1, 2, 3};
    CRC32C found = new CRC32C();
    Frame.beginChecksum(frame.sealed(ByteBuffer.wrap(payload), new CRC32C()), found);
    found.update(payload);

    Frame arrived = arrived(frame, payload);
    arrived.requireIntact((int) found.getValue());
    assertThat(arrived.call()).isEqualTo(ALL_REDUCE);
    assertThat(arrived.piece()).isEqualTo(5);
    assertThat(arrived.payloadBytes()).isEqualTo(3);
  }

  @Test
  void damageNamesTheOperationThatTheFrameIsOf() {
    Frame arrived = arrived(new Frame(Frame.DATA, 0, 0, 0, ALL_REDUCE), new byte[0]);
    assertThatThrownBy(() -> arrived.requireIntact(arrived.checksum() + 1))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("a damaged frame of all_reduce #7: its CRC-32C is ");
  }

  /** Their header has the place of a call, though there is none. */
  @Test
  void damageOfAControlFrameNamesNoOperation() {
    Frame abort = arrived(Frame.control(Frame.ABORT, 0), new byte[0]);
    assertThatThrownBy(() -> abort.requireIntact(abort.checksum() + 1))
        .hasMessageStartingWith("a damaged frame that says it cannot go on: its CRC-32C is ");
    Frame farewell = arrived(Frame.control(Frame.FAREWELL, 0), new byte[0]);
    assertThatThrownBy(() -> farewell.requireIntact(farewell.checksum() + 1))
        .hasMessageStartingWith("a damaged frame that says it has left: its CRC-32C is ");
  }
}
