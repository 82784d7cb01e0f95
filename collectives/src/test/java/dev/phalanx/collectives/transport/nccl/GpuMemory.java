package dev.phalanx.collectives.transport.nccl;

import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Device;
import dev.phalanx.tensor.Shape;
import dev.phalanx.tensor.Storage;
import dev.phalanx.tensor.Tensor;
import java.nio.ByteBuffer;
import org.bytedeco.cuda.global.cudart;
import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.javacpp.Pointer;

/** A block of a real GPU's memory for one tensor of FLOAT32. One thread for each. */
final class GpuMemory implements Storage, AutoCloseable {
  private final Device device;
  private final Pointer block = new Pointer();
  private final int count;

  GpuMemory(Device device, float... values) {
    this.device = device;
    this.count = values.length;
    require(cudart.cudaSetDevice(device.index()));
    require(cudart.cudaMalloc(block, Math.max(1, byteSize())));
    try (FloatPointer host = new FloatPointer(values)) {
      require(cudart.cudaMemcpy(block, host, byteSize(), cudart.cudaMemcpyHostToDevice));
    }
    require(cudart.cudaDeviceSynchronize());
  }

  Tensor tensor() {
    return Tensor.over(this, 0, DType.FLOAT32, Shape.of(count));
  }

  float[] values() {
    float[] values = new float[count];
    require(cudart.cudaSetDevice(device.index()));
    try (FloatPointer host = new FloatPointer(count)) {
      require(cudart.cudaMemcpy(host, block, byteSize(), cudart.cudaMemcpyDeviceToHost));
      host.get(values);
    }
    return values;
  }

  private static void require(int error) {
    if (error != cudart.cudaSuccess) {
      throw new IllegalStateException(cudart.cudaGetErrorString(error).getString());
    }
  }

  @Override
  public Device device() {
    return device;
  }

  @Override
  public long byteSize() {
    return 4L * count;
  }

  @Override
  public long address() {
    return block.address();
  }

  @Override
  public ByteBuffer byteBuffer(long byteOffset, int byteCount) {
    throw new UnsupportedOperationException("The host cannot address " + device);
  }

  @Override
  public void free() {
    cudart.cudaFree(block);
  }

  @Override
  public void close() {
    free();
  }
}
