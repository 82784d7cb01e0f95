package dev.phalanx.sharding.compression;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(60)
final class HostMemoryTest {
  @Test
  void runsAcrossTheEndsOfBuffersAreOne() throws Exception {
    float[] values = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
    Rank.runAll(
        1,
        rank -> {
          HostMemory memory = new HostMemory(rank.tensor(values), 4); // four floats in a buffer
          float[] read = new float[9];
          memory.read(2, read, 9);
          assertThat(read).containsExactly(2, 3, 4, 5, 6, 7, 8, 9, 10);
          memory.write(3, new float[] {-3, -4, -5, -6, -7, -8}, 6);
          memory.putFloat(10, memory.getFloat(8) + 0.5f);
          float[] all = new float[11];
          memory.read(0, all, 11);
          assertThat(all).containsExactly(0, 1, 2, -3, -4, -5, -6, -7, -8, 9, -7.5f);
          return rank;
        });
  }

  @Test
  void bytesAndIntsAreThoseOfTheFloats() throws Exception {
    Rank.runAll(
        1,
        rank -> {
          HostMemory memory = new HostMemory(rank.tensor(new float[11]), 4);
          memory.putInt(7, Float.floatToRawIntBits(1.5f));
          assertThat(memory.getFloat(7)).isEqualTo(1.5f);
          byte[] bytes = new byte[21];
          for (int i = 0; i < bytes.length; i++) {
            bytes[i] = (byte) (i + 1);
          }
          memory.write(7, bytes, bytes.length);
          byte[] read = new byte[23];
          memory.read(6, read, read.length);
          assertThat(read).startsWith(0, 1, 2).endsWith(20, 21, 0);
          assertThat(memory.getInt(2)).isEqualTo(0x05040302);
          return rank;
        });
  }
}
