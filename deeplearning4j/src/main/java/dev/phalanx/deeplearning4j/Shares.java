package dev.phalanx.deeplearning4j;

import org.jspecify.annotations.Nullable;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.dataset.MultiDataSet;
import org.nd4j.linalg.indexing.NDArrayIndex;

/**
 * Which samples of a batch are whose: consecutive ones, as even as it goes.
 *
 * <pre>
 *   7 samples, 3 ranks:   | 0 1 | 2 3 | 4 5 6 |
 * </pre>
 */
final class Shares {
  private Shares() {}

  /** The first sample of a rank; that of rank {@code ranks} is the end. */
  static long first(long samples, int rank, int ranks) {
    return samples * rank / ranks;
  }

  static long samples(org.nd4j.linalg.dataset.api.MultiDataSet batch) {
    return batch.getFeatures(0).size(0);
  }

  /** Views of some samples: nothing is copied. */
  static MultiDataSet slice(
      org.nd4j.linalg.dataset.api.MultiDataSet batch, long first, long count) {
    return new MultiDataSet(
        slice(batch.getFeatures(), first, count),
        slice(batch.getLabels(), first, count),
        slice(batch.getFeaturesMaskArrays(), first, count),
        slice(batch.getLabelsMaskArrays(), first, count));
  }

  private static INDArray @Nullable [] slice(
      @Nullable INDArray @Nullable [] arrays, long first, long count) {
    if (arrays == null) {
      return null;
    }
    INDArray[] slices = new INDArray[arrays.length];
    for (int i = 0; i < arrays.length; i++) {
      INDArray array = arrays[i];
      if (array != null) {
        slices[i] = array.get(NDArrayIndex.interval(first, first + count));
      }
    }
    return slices;
  }
}
