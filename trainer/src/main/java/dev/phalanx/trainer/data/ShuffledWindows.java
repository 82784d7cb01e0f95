package dev.phalanx.trainer.data;

/** Training data: the windows in the order of a {@link SampleOrder}, epoch after epoch. */
record ShuffledWindows(TokenWindows data, SampleOrder order) implements BatchSource {
  @Override
  public int sequence() {
    return data.sequence();
  }

  @Override
  public long samplesPerEpoch() {
    return order.windows();
  }

  @Override
  public void fill(long firstSample, int count, long[] inputs, long[] targets) {
    TokenWindows.checkRoom(count, sequence(), inputs, targets);
    for (int i = 0; i < count; i++) {
      data.read(order.window(firstSample + i), i, inputs, targets);
    }
  }
}
