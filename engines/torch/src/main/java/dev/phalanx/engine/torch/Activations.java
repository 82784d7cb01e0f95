package dev.phalanx.engine.torch;

import dev.phalanx.engine.host.Arguments;
import dev.phalanx.engine.host.EngineContract;
import dev.phalanx.engine.host.FasterGelu;
import dev.phalanx.engine.host.HostTensors;
import dev.phalanx.tensor.Tensor;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.pytorch.global.torch;

/** GELU, SiLU and SwiGLU with their gradients. */
final class Activations {
  /**
   * Bytes of the rows that SwiGLU's two passes take at once, so that the second finds them in
   * cache.
   */
  private static final long CHUNK_BYTES = 256 * 1024;

  private final TorchContext context;
  private final BytePointer tanh;
  private final FasterGelu fasterGelu;

  Activations(TorchContext context, FasterGelu fasterGelu) {
    this.context = context;
    this.fasterGelu = fasterGelu;
    this.tanh = context.own(new BytePointer("tanh"));
  }

  void gelu(Tensor x, Tensor out) {
    Arguments.alike("gelu", x, out);
    long count = x.elementCount();
    var input = context.of(x); // prepares this thread, and tells an engine that was closed
    long done = fasterGelu.forward(x.dtype(), at(x, 0), at(out, 0), count);
    if (done == 0) {
      torch.gelu_out(context.of(out), input, tanh);
    } else if (done < count) {
      try (var lastX = last(x, done);
          var lastOut = last(out, done)) {
        torch.gelu_out(lastOut, lastX, tanh);
      }
    }
  }

  void geluBackward(Tensor dy, Tensor x, Tensor dx) {
    Arguments.alike("geluBackward", dy, x, dx);
    long count = x.elementCount();
    var input = context.of(x);
    long done = fasterGelu.backward(x.dtype(), at(dy, 0), at(x, 0), at(dx, 0), count);
    if (done == 0) {
      torch.gelu_backward_out(context.of(dx), context.of(dy), input, tanh);
    } else if (done < count) {
      try (var lastDy = last(dy, done);
          var lastX = last(x, done);
          var lastDx = last(dx, done)) {
        torch.gelu_backward_out(lastDx, lastDy, lastX, tanh);
      }
    }
  }

  private static long at(Tensor tensor, long element) {
    return HostTensors.open(tensor).address() + tensor.dtype().bytes(element);
  }

  /** What of a contiguous tensor lies behind its first elements. */
  private org.bytedeco.pytorch.Tensor last(Tensor tensor, long done) {
    return context.blob(at(tensor, done), tensor.dtype(), tensor.elementCount() - done);
  }

  void silu(Tensor x, Tensor out) {
    Arguments.alike("silu", x, out);
    torch.silu_out(context.of(out), context.of(x));
  }

  void siluBackward(Tensor dy, Tensor x, Tensor dx) {
    Arguments.alike("siluBackward", dy, x, dx);
    torch.silu_backward_out(context.of(dx), context.of(dy), context.of(x));
  }

  void swiGlu(Tensor gate, Tensor up, Tensor out) {
    EngineContract.swiGlu(gate, up, out);
    long chunk = chunkRows(gate);
    for (long start = 0; start < gate.size(0); start += chunk) {
      long count = Math.min(chunk, gate.size(0) - start);
      try (var gateRows = context.of(gate).narrow(0, start, count);
          var upRows = context.of(up).narrow(0, start, count);
          var outRows = context.of(out).narrow(0, start, count)) {
        torch.silu_out(outRows, gateRows);
        outRows.mul_(upRows);
      }
    }
  }

  void swiGluBackward(Tensor dy, Tensor gate, Tensor up, Tensor dGate, Tensor dUp) {
    EngineContract.swiGluBackward(dy, gate, up, dGate, dUp);
    long chunk = chunkRows(gate);
    for (long start = 0; start < gate.size(0); start += chunk) {
      long count = Math.min(chunk, gate.size(0) - start);
      try (var dyRows = context.of(dy).narrow(0, start, count);
          var gateRows = context.of(gate).narrow(0, start, count);
          var upRows = context.of(up).narrow(0, start, count);
          var dGateRows = context.of(dGate).narrow(0, start, count);
          var dUpRows = context.of(dUp).narrow(0, start, count)) {
        torch.silu_out(dUpRows, gateRows);
        dUpRows.mul_(dyRows);
        torch.mul_out(dGateRows, dyRows, upRows);
        torch.silu_backward_out(dGateRows, dGateRows, gateRows);
      }
    }
  }

  private static long chunkRows(Tensor gate) {
    return Math.max(1, CHUNK_BYTES / Math.max(1, gate.dtype().bytes(gate.size(1))));
  }
}
