package dev.phalanx.trainer.rehearsal;

import dev.phalanx.tensor.Device;
import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.Storage;
import dev.phalanx.tensor.Tensor;
import java.lang.reflect.Method;
import java.lang.reflect.Proxy;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import org.jspecify.annotations.Nullable;

/**
 * An engine that computes nothing and takes no memory of its own: what is done with it shows which
 * tensors a job allocates, in which order, and how many floating-point operations its matrix
 * products are. Small blocks, which the host reads and writes numbers in, are real and zero at
 * first; of large ones whoever looks into them gets zeros of his own, which is what codecs of
 * gradients work on.
 *
 * <p>Operations are those of the model, two for each multiplication and addition: of attention its
 * two products over whole sequences, what a causal one leaves out among them, and twice that
 * backwards, as Narayanan et al. (2021, "Efficient Large-Scale Language Model Training on GPU
 * Clusters", appendix) count them.
 */
public final class RehearsalEngine {
  private static final long LARGEST_REAL_BYTES = 64 << 10;

  private final Engine engine =
      (Engine)
          Proxy.newProxyInstance(
              Engine.class.getClassLoader(), new Class<?>[] {Engine.class}, this::invoke);
  private double products;
  private double attentionOperations;

  /** What a job is run with. */
  public Engine engine() {
    return engine;
  }

  /** Floating-point operations so far. */
  public double operations() {
    return products + attentionOperations;
  }

  /** Of them, those of attention. */
  public double attentionOperations() {
    return attentionOperations;
  }

  /** A call of one of {@link Engine}'s methods. */
  private @Nullable Object invoke(
      Object proxy, Method method, @Nullable Object @Nullable [] arguments) {
    Object[] given = arguments == null ? new Object[0] : arguments;
    switch (method.getName()) {
      case "allocate":
        return new Block((Device) given[0], (Long) given[1]);
      case "wrap":
        return new Block(Device.CPU, ((ByteBuffer) given[0]).remaining());
      case "name", "description", "toString":
        return "rehearsal";
      case "hashCode":
        return System.identityHashCode(proxy);
      case "equals":
        return proxy == given[0];
      case "matmul", "batchedMatmul", "linear":
        products += product((Tensor) given[0], (Tensor) given[4]);
        clear((Tensor) given[4]); // what routers read: all the same, and not what lay there
        return null;
      case "attention":
        attentionOperations += attention((Tensor) given[0], (Tensor) given[1], (Boolean) given[3]);
        return null;
      case "attentionBackward":
        attentionOperations +=
            2 * attention((Tensor) given[1], (Tensor) given[2], (Boolean) given[4]);
        return null;
      default: // what the engine supports is everything, and what it finds finite too
        return method.getReturnType() == boolean.class ? true : null;
    }
  }

  /** Of out [.., n] = a [m, k] times something, a transposed or not. */
  private static double product(Tensor a, Tensor out) {
    return 2.0 * a.elementCount() * out.shape().size(out.shape().rank() - 1);
  }

  /** Of small blocks, which are real. */
  private static void clear(Tensor tensor) {
    if (tensor.isContiguous() && tensor.storage().byteSize() <= LARGEST_REAL_BYTES) {
      ByteBuffer bytes = tensor.byteBuffer(0, (int) tensor.byteSize());
      bytes.put(new byte[bytes.remaining()]);
    }
  }

  /**
   * Of queries [b, t, h, d] and keys [b, s, g, d]: scores and their product with values. What is
   * not causal is a part of causal attention that leaves nothing out, and stands for as much again
   * that is left out elsewhere.
   */
  private static double attention(Tensor query, Tensor key, boolean isCausal) {
    return (isCausal ? 4.0 : 8.0) * query.elementCount() * key.shape().size(1);
  }

  /** Memory that is counted and, unless it is small, not there. */
  private static final class Block implements Storage {
    private final Device device;
    private final long byteSize;
    private final ByteBuffer real;

    Block(Device device, long byteSize) {
      this.device = device;
      this.byteSize = byteSize;
      this.real = ByteBuffer.allocate(byteSize <= LARGEST_REAL_BYTES ? (int) byteSize : 0);
    }

    @Override
    public Device device() {
      return device;
    }

    @Override
    public long byteSize() {
      return byteSize;
    }

    @Override
    public long address() {
      return 0;
    }

    @Override
    public ByteBuffer byteBuffer(long byteOffset, int byteCount) {
      ByteBuffer buffer =
          byteSize <= LARGEST_REAL_BYTES
              ? real.slice((int) byteOffset, byteCount)
              : ByteBuffer.allocate(byteCount);
      return buffer.order(ByteOrder.nativeOrder());
    }

    @Override
    public void free() {
      // there is nothing
    }
  }
}
