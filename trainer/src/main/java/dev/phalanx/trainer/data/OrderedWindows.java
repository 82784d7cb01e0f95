package dev.phalanx.trainer.data;

/** Held-out data: sample k is window k, as the text goes; there is one epoch. */
record OrderedWindows(TokenWindows data) implements BatchSource {
  @Override
  public int sequence() {
    return data.sequence();
  }

  @Override
  public long samplesPerEpoch() {
    return data.windows();
  }

  @Override
  public void fill(long firstSample, int count, long[] inputs, long[] targets) {
    TokenWindows.checkRoom(count, sequence(), inputs, targets);
    for (int i = 0; i < count; i++) {
      data.read(firstSample + i, i, inputs, targets);
    }
  }
}
