package dev.phalanx.engine.nd4j;

import dev.phalanx.engine.host.BlockAttention;
import dev.phalanx.engine.host.DropoutMask;
import dev.phalanx.engine.host.EngineContract;
import dev.phalanx.engine.host.HostKernels;
import dev.phalanx.engine.host.LossRows;
import dev.phalanx.engine.host.WrappedBlock;
import dev.phalanx.tensor.AdamW;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Device;
import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.EngineOptions;
import dev.phalanx.tensor.Sgd;
import dev.phalanx.tensor.Storage;
import dev.phalanx.tensor.Tensor;
import java.nio.ByteBuffer;
import org.bytedeco.openblas.global.openblas;
import org.jspecify.annotations.Nullable;
import org.nd4j.linalg.cpu.nativecpu.bindings.Nd4jCpu;

/**
 * Kernels on ND4J, oneDNN and OpenBLAS in FLOAT32, for the CPU. Each group of kernels has a class
 * of its own; this one hands calls on. Of the other types it carries values: {@link #copy} converts
 * them.
 *
 * <p>All kernels are done when they return. They run in the thread that calls; several threads are
 * the matter of {@link dev.phalanx.engine.host.TeamEngine}.
 */
final class Nd4jEngine implements Engine {
  static final String NAME = "nd4j";

  private final int threads;
  private final HostKernels hostKernels;
  private final String version = Nd4jLibrary.version();
  private final NativeArrays arrays;
  private final Elementwise elementwise;
  private final Reductions reductions;
  private final MatrixProducts matrixProducts;
  private final Activations activations;
  private final LayerNormalization layerNormalization = new LayerNormalization();
  private final RmsNormalization rmsNormalization = new RmsNormalization();
  private final Rows indexedRows = new Rows();
  private final RotaryEmbedding rotaryEmbedding;
  private final Nd4jAttentionArithmetic attentionArithmetic;
  private final BlockAttention attention;
  private final Losses lossKernels = new Losses();
  private final Optimizers optimizers = new Optimizers();

  Nd4jEngine(EngineOptions options) {
    Nd4jCpu operations = Nd4jLibrary.load();
    openblas.blas_set_num_threads(1); // kernels are divided among threads by TeamEngine
    this.threads = options.threads();
    this.arrays = new NativeArrays(operations);
    this.elementwise = new Elementwise(arrays);
    this.reductions = new Reductions(arrays);
    Runnable useOneThread = () -> operations.setOmpNumThreads(1);
    this.hostKernels = new HostKernels(useOneThread, false);
    this.activations = new Activations(hostKernels.gelu());
    this.matrixProducts = new MatrixProducts(elementwise, hostKernels.gemm());
    this.rotaryEmbedding = new RotaryEmbedding(arrays);
    this.attentionArithmetic = new Nd4jAttentionArithmetic(arrays);
    this.attention = new BlockAttention(attentionArithmetic, hostKernels.gemm());
  }

  @Override
  public String name() {
    return NAME;
  }

  @Override
  public String description() {
    return "ND4J "
        + version
        + " and "
        + hostKernels.gemm().library()
        + " on the CPU"
        + (Nd4jLibrary.usesAvx512() ? " with AVX-512" : "")
        + ", threads: "
        + threads;
  }

  @Override
  public boolean supports(Device device) {
    return device.equals(Device.CPU);
  }

  @Override
  public boolean supports(DType dtype) {
    return dtype == DType.FLOAT32;
  }

  @Override
  public Storage allocate(Device device, long bytes) {
    if (!supports(device)) {
      throw new IllegalArgumentException(
          "allocate was asked for memory on " + device + "; this engine computes on cpu");
    }
    return HostMemory.allocate(bytes);
  }

  @Override
  public Storage wrap(ByteBuffer direct) {
    return new WrappedBlock(direct);
  }

  /** Nothing to wait for: kernels on the CPU are done when they return. */
  @Override
  public void synchronize(Device device) {}

  @Override
  public void copy(Tensor source, Tensor destination) {
    elementwise.copy(source, destination);
  }

  @Override
  public void fill(Tensor tensor, double value) {
    elementwise.fill(tensor, value);
  }

  @Override
  public void add(Tensor a, Tensor b, Tensor out) {
    elementwise.add(a, b, out);
  }

  @Override
  public void addScaled(double alpha, Tensor x, Tensor y) {
    elementwise.addScaled(alpha, x, y);
  }

  @Override
  public void scale(Tensor x, double alpha) {
    elementwise.scale(x, alpha);
  }

  @Override
  public void multiply(Tensor a, Tensor b, Tensor out) {
    elementwise.multiply(a, b, out);
  }

  @Override
  public void sum(Tensor x, Tensor out) {
    reductions.sum(x, out);
  }

  @Override
  public void sumRows(Tensor x, Tensor out, boolean accumulate) {
    reductions.sumRows(x, out, accumulate);
  }

  @Override
  public void squaredNorm(Tensor x, Tensor out) {
    reductions.squaredNorm(x, out);
  }

  @Override
  public boolean allFinite(Tensor x) {
    return reductions.allFinite(x);
  }

  @Override
  public void matmul(
      Tensor a,
      boolean transposeA,
      Tensor b,
      boolean transposeB,
      Tensor out,
      double alpha,
      boolean accumulate) {
    matrixProducts.matmul(a, transposeA, b, transposeB, out, alpha, accumulate);
  }

  @Override
  public void batchedMatmul(
      Tensor a,
      boolean transposeA,
      Tensor b,
      boolean transposeB,
      Tensor out,
      double alpha,
      boolean accumulate) {
    matrixProducts.batchedMatmul(a, transposeA, b, transposeB, out, alpha, accumulate);
  }

  @Override
  public void linear(
      Tensor x, Tensor weight, @Nullable Tensor bias, @Nullable Tensor residual, Tensor out) {
    matrixProducts.linear(x, weight, bias, residual, out);
  }

  @Override
  public void gelu(Tensor x, Tensor out) {
    activations.gelu(x, out);
  }

  @Override
  public void geluBackward(Tensor dy, Tensor x, Tensor dx) {
    activations.geluBackward(dy, x, dx);
  }

  @Override
  public void silu(Tensor x, Tensor out) {
    activations.silu(x, out);
  }

  @Override
  public void siluBackward(Tensor dy, Tensor x, Tensor dx) {
    activations.siluBackward(dy, x, dx);
  }

  @Override
  public void swiGlu(Tensor gate, Tensor up, Tensor out) {
    activations.swiGlu(gate, up, out);
  }

  @Override
  public void swiGluBackward(Tensor dy, Tensor gate, Tensor up, Tensor dGate, Tensor dUp) {
    activations.swiGluBackward(dy, gate, up, dGate, dUp);
  }

  @Override
  public void dropout(Tensor x, double probability, long seed, long firstIndex, Tensor out) {
    EngineContract.dropout(x, probability, out);
    Floats.address("dropout", x);
    if (probability == 0) {
      elementwise.copy(x, out);
    } else {
      DropoutMask.of(probability, seed).apply(x, out, firstIndex);
    }
  }

  @Override
  public void layerNorm(
      Tensor x, Tensor weight, Tensor bias, double epsilon, Tensor out, Tensor mean, Tensor rstd) {
    layerNormalization.forward(x, weight, bias, epsilon, out, mean, rstd);
  }

  @Override
  public void layerNormBackward(
      Tensor dy,
      Tensor x,
      Tensor weight,
      Tensor mean,
      Tensor rstd,
      Tensor dx,
      boolean accumulateInput,
      Tensor dWeight,
      Tensor dBias,
      boolean accumulateParameters) {
    layerNormalization.backward(
        dy, x, weight, mean, rstd, dx, accumulateInput, dWeight, dBias, accumulateParameters);
  }

  @Override
  public void rmsNorm(Tensor x, Tensor weight, double epsilon, Tensor out, Tensor rstd) {
    rmsNormalization.forward(x, weight, epsilon, out, rstd);
  }

  @Override
  public void rmsNormBackward(
      Tensor dy,
      Tensor x,
      Tensor weight,
      Tensor rstd,
      Tensor dx,
      boolean accumulateInput,
      Tensor dWeight,
      boolean accumulateParameters) {
    rmsNormalization.backward(
        dy, x, weight, rstd, dx, accumulateInput, dWeight, accumulateParameters);
  }

  @Override
  public void gatherRows(Tensor table, Tensor ids, Tensor out, boolean accumulate) {
    indexedRows.gather(table, ids, out, accumulate);
  }

  @Override
  public void scatterAddRows(Tensor rows, Tensor ids, Tensor table) {
    indexedRows.scatterAdd(rows, ids, table);
  }

  @Override
  public void gatherRowsWithin(Tensor table, long firstRow, Tensor ids, Tensor out) {
    indexedRows.gatherWithin(table, firstRow, ids, out);
  }

  @Override
  public void scatterAddRowsWithin(Tensor rows, Tensor ids, Tensor table, long firstRow) {
    indexedRows.scatterAddWithin(rows, ids, table, firstRow);
  }

  @Override
  public void rotary(Tensor x, Tensor cosine, Tensor sine, boolean inverse, Tensor out) {
    rotaryEmbedding.rotate(x, cosine, sine, inverse, out);
  }

  @Override
  public void attention(
      Tensor query,
      Tensor key,
      Tensor value,
      boolean causal,
      double scale,
      Tensor out,
      Tensor logSumExp) {
    attention.forward(query, key, value, causal, scale, out, logSumExp);
  }

  @Override
  public void attentionBackward(
      Tensor dOut,
      Tensor query,
      Tensor key,
      Tensor value,
      boolean causal,
      double scale,
      Tensor out,
      Tensor logSumExp,
      Tensor dQuery,
      Tensor dKey,
      Tensor dValue) {
    attention.backward(
        dOut, query, key, value, causal, scale, out, logSumExp, dQuery, dKey, dValue);
  }

  @Override
  public void mergeAttention(Tensor out, Tensor logSumExp, Tensor partOut, Tensor partLogSumExp) {
    attention.merge(out, logSumExp, partOut, partLogSumExp);
  }

  @Override
  public void softmax(Tensor x, Tensor out) {
    lossKernels.softmax(x, out);
  }

  @Override
  public void crossEntropy(Tensor logits, Tensor targets, Tensor losses) {
    lossKernels.crossEntropy(logits, targets, losses);
  }

  @Override
  public void crossEntropyBackward(Tensor logProbabilities, Tensor targets, double scale) {
    lossKernels.crossEntropyBackward(logProbabilities, targets, scale);
  }

  @Override
  public void rowMaxima(Tensor x, Tensor maxima) {
    lossKernels.rowMaxima(x, maxima);
  }

  @Override
  public void crossEntropyPart(
      Tensor logits, long firstColumn, Tensor targets, Tensor maxima, Tensor sums, Tensor picked) {
    lossKernels.part(logits, firstColumn, targets, maxima, sums, picked);
  }

  @Override
  public void crossEntropyOfParts(Tensor sums, Tensor picked, Tensor targets, Tensor losses) {
    LossRows.lossesOfParts(sums, picked, targets, losses);
  }

  @Override
  public void crossEntropyPartBackward(
      Tensor logits, long firstColumn, Tensor targets, Tensor maxima, Tensor sums, double scale) {
    lossKernels.partBackward(logits, firstColumn, targets, maxima, sums, scale);
  }

  @Override
  public void adamW(
      AdamW update,
      Tensor parameters,
      Tensor gradients,
      Tensor firstMoments,
      Tensor secondMoments) {
    optimizers.adamW(update, parameters, gradients, firstMoments, secondMoments);
  }

  @Override
  public void sgd(Sgd update, Tensor parameters, Tensor gradients, @Nullable Tensor momenta) {
    optimizers.sgd(update, parameters, gradients, momenta);
  }

  @Override
  public void close() {
    hostKernels.close();
    attentionArithmetic.close();
    rotaryEmbedding.close();
    reductions.close();
    elementwise.close();
    arrays.close();
  }
}
