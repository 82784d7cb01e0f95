package dev.phalanx.deeplearning4j;

import java.util.List;

/** Samples that are those of others, looked at in another way. */
abstract class SampleView implements Samples {
  private final Samples all;

  SampleView(Samples all) {
    this.all = all;
  }

  final Samples all() {
    return all;
  }

  @Override
  public int count() {
    return all.count();
  }

  @Override
  public final int featureCount() {
    return all.featureCount();
  }

  @Override
  public final int labelCount() {
    return all.labelCount();
  }

  @Override
  public final List<String> classes() {
    return all.classes();
  }
}
