package dev.phalanx.engine.torch;

import dev.phalanx.engine.host.AttentionArithmetic;
import dev.phalanx.engine.host.BlockAttention.Block;
import dev.phalanx.engine.host.BlockAttention.Sequence;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.jspecify.annotations.Nullable;

/**
 * The arithmetic of attention's blocks. Sequences of half the width that it reads are widened to
 * FLOAT32 one at a time.
 */
final class TorchAttentionArithmetic implements AttentionArithmetic {
  private static final long[] INNERMOST = {-1};

  private final TorchContext context;
  private final Scratch scoreMemory;
  private final Scratch slopeMemory;
  private final Scratch narrowMemory;
  private final Scratch largestMemory;
  private final Scratch sumMemory;
  private final Scratch productMemory;
  private final Scratch deltaMemory;
  private final Scratch maskMemory;
  private final Scratch[] wide = new Scratch[8];
  private long maskRows;
  private org.bytedeco.pytorch.@Nullable Tensor sequenceLogSumExp;

  TorchAttentionArithmetic(TorchContext context) {
    this.context = context;
    this.scoreMemory = context.scratch();
    this.slopeMemory = context.scratch();
    this.narrowMemory = context.scratch();
    this.largestMemory = context.scratch();
    this.sumMemory = context.scratch();
    this.productMemory = context.scratch();
    this.deltaMemory = context.scratch();
    this.maskMemory = context.scratch();
    for (int i = 0; i < wide.length; i++) {
      wide[i] = context.scratch();
    }
  }

  @Override
  public void fill(Tensor tensor, double value) {
    context.of(tensor).fill_(context.scalar(value));
  }

  @Override
  public void begin(Tensor logSumExp, long batch) {
    end();
    sequenceLogSumExp = context.of(logSumExp).select(0, batch);
  }

  @Override
  public void end() {
    var sums = sequenceLogSumExp;
    if (sums != null) {
      sequenceLogSumExp = null;
      sums.close();
    }
  }

  /** The block's part of logSumExp as [heads, rows]; the caller closes it. */
  private org.bytedeco.pytorch.Tensor logSumExp(Block block) {
    var sums = sequenceLogSumExp;
    if (sums == null) {
      throw new IllegalStateException("Attention has not begun a sequence");
    }
    try (var someHeads = sums.narrow(0, block.firstHead(), block.heads())) {
      return someHeads.narrow(1, block.firstRow(), block.rows());
    }
  }

  @Override
  public long scores(Block block) {
    return scoresOf(block).data_ptr().address();
  }

  private org.bytedeco.pytorch.Tensor scoresOf(Block block) {
    return matrices(scoreMemory, DType.FLOAT32, block);
  }

  /** [heads, rows, keys]. */
  private static org.bytedeco.pytorch.Tensor matrices(Scratch memory, DType type, Block block) {
    return memory.getRows(type, block.stride(), block.heads(), block.rows(), block.keys());
  }

  @Override
  public void exponentials(Block block) {
    var scores = maskedScores(block);
    var largest = largest(block);
    torch.amax_out(largest, scores, INNERMOST, true);
    scores.sub_(largest);
    scores.exp_();
    torch.sum_out(sum(block), scores, INNERMOST, true, context.type(DType.FLOAT32));
  }

  private org.bytedeco.pytorch.Tensor largest(Block block) {
    return largestMemory.get(DType.FLOAT32, block.heads(), block.rows(), 1);
  }

  private org.bytedeco.pytorch.Tensor sum(Block block) {
    return sumMemory.get(DType.FLOAT32, block.heads(), block.rows(), 1);
  }

  private org.bytedeco.pytorch.Tensor maskedScores(Block block) {
    var scores = scoresOf(block);
    if (block.isCausal()) {
      try (var diagonal = scores.narrow(2, block.firstRow(), block.rows())) {
        diagonal.add_(mask(block.rows()));
      }
    }
    return scores;
  }

  /** Minus infinity above the diagonal, 0 elsewhere. */
  private org.bytedeco.pytorch.Tensor mask(long rows) {
    var mask = maskMemory.get(DType.FLOAT32, rows, rows);
    if (maskRows != rows) {
      mask.fill_(context.scalar(Double.NEGATIVE_INFINITY));
      mask.triu_(1);
      maskRows = rows;
    }
    return mask;
  }

  @Override
  public void finish(Block block, Sequence y, long width) {
    var sum = sum(block);
    try (var outRows = rows(y, block, width);
        var factors = sum.transpose(0, 1);
        var target = logSumExp(block);
        var column = target.unsqueeze(2)) {
      outRows.div_(factors);
      sum.log_();
      torch.add_out(column, largest(block), sum);
    }
  }

  @Override
  public void probabilities(Block block) {
    var scores = maskedScores(block);
    try (var someRows = logSumExp(block);
        var column = someRows.unsqueeze(2)) {
      scores.sub_(column);
      scores.exp_();
    }
  }

  @Override
  public long slopes(Block block) {
    return slopesOf(block).data_ptr().address();
  }

  private org.bytedeco.pytorch.Tensor slopesOf(Block block) {
    return matrices(slopeMemory, DType.FLOAT32, block);
  }

  @Override
  public void slopesOfScores(Block block, Sequence y, Sequence dY, long width) {
    var slopes = slopesOf(block);
    var products = productMemory.get(DType.FLOAT32, block.rows(), block.heads(), width);
    var delta = deltaMemory.get(DType.FLOAT32, block.rows(), block.heads(), 1);
    try (var yRows = rows(y, block, width);
        var dYRows = rows(dY, block, width);
        var column = delta.transpose(0, 1)) {
      torch.mul_out(products, yRows, dYRows);
      torch.sum_out(delta, products, INNERMOST, true, context.type(DType.FLOAT32));
      slopes.sub_(column);
    }
    slopes.mul_(scoresOf(block));
  }

  @Override
  public long narrowScores(Block block) {
    return narrowed(scoresOf(block), block);
  }

  @Override
  public long narrowSlopes(Block block) {
    return narrowed(slopesOf(block), block);
  }

  private long narrowed(org.bytedeco.pytorch.Tensor wide, Block block) {
    var narrow = matrices(narrowMemory, DType.BFLOAT16, block);
    narrow.copy_(wide);
    return narrow.data_ptr().address();
  }

  /** A block's part of a sequence: [rows, heads, width]; the caller closes it. */
  private org.bytedeco.pytorch.Tensor rows(Sequence sequence, Block block, long width) {
    return context.strided(
        sequence.at(block.firstRow(), block.firstHead()),
        DType.FLOAT32,
        new long[] {block.rows(), block.heads(), width},
        new long[] {sequence.positionStride(), sequence.headStride(), 1});
  }

  @Override
  public Sequence read(Tensor tensor, long batch, int number) {
    Sequence sequence = place(tensor, batch, number);
    if (tensor.dtype() != DType.FLOAT32) {
      try (var narrow = context.of(tensor).select(0, batch)) {
        widened(tensor, number).copy_(narrow);
      }
    }
    return sequence;
  }

  @Override
  public Sequence place(Tensor tensor, long batch, int number) {
    if (tensor.dtype() == DType.FLOAT32) {
      context.of(tensor); // prepares this thread, and tells an engine that was closed
      return Sequence.of(tensor, batch);
    }
    long width = tensor.size(3);
    return new Sequence(
        DType.FLOAT32, widened(tensor, number).data_ptr().address(), tensor.size(2) * width, width);
  }

  private org.bytedeco.pytorch.Tensor widened(Tensor tensor, int number) {
    return wide[number].get(DType.FLOAT32, tensor.size(1), tensor.size(2), tensor.size(3));
  }

  @Override
  public void write(Tensor tensor, long batch, int number) {
    if (tensor.dtype() != DType.FLOAT32) {
      try (var narrow = context.of(tensor).select(0, batch)) {
        narrow.copy_(widened(tensor, number));
      }
    }
  }
}
