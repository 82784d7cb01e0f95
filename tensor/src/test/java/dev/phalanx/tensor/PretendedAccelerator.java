package dev.phalanx.tensor;

import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Proxy;
import java.nio.ByteBuffer;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Queue;
import org.jspecify.annotations.Nullable;

/**
 * An engine on the CPU that behaves as one with accelerators {@code cuda:0} to {@code cuda:7}, so
 * that code which takes the device for the host is found out on any machine:
 *
 * <ul>
 *   <li>the host cannot address the device's memory;
 *   <li>kernels take tensors of one device, {@code copy} alone crosses;
 *   <li>where it is asynchronous, kernels and copies run no earlier than the device is
 *       synchronized. Whoever reads too early finds old bytes, and whoever frees host memory that a
 *       copy still needs is told.
 * </ul>
 */
public final class PretendedAccelerator {
  private static final int DEVICES = 8;

  /** When the device does its work. */
  public enum Timing {
    AT_ONCE,
    WHEN_SYNCHRONIZED
  }

  private record Launch(Method kernel, Object[] arguments) {}

  private final Engine host;
  private final Timing timing;
  private final Queue<Runnable> queue = new ArrayDeque<>();
  private final Engine engine;

  private PretendedAccelerator(Engine host, Timing timing) {
    this.host = host;
    this.timing = timing;
    this.engine =
        (Engine)
            Proxy.newProxyInstance(
                Engine.class.getClassLoader(),
                new Class<?>[] {Engine.class},
                (proxy, method, arguments) -> call(method, arguments));
  }

  /**
   * @param host computes; closed with the result
   */
  public static Engine over(Engine host, Timing timing) {
    return new PretendedAccelerator(host, timing).engine;
  }

  private @Nullable Object call(Method method, Object[] arguments) throws Throwable {
    switch (method.getName()) {
      case "supports":
        return arguments[0] instanceof Device device
            ? isAccelerator(device) || host.supports(device)
            : invoke(method, arguments);
      case "allocate":
        return allocate((Device) arguments[0], (Long) arguments[1]);
      case "wrap":
        return new Block(Device.CPU, host.wrap((ByteBuffer) arguments[0]));
      case "synchronize":
        if (isAccelerator((Device) arguments[0])) {
          runQueue();
        }
        return null;
      case "close":
        runQueue();
        host.close();
        return null;
      default:
        return kernel(method, arguments == null ? new Object[0] : arguments);
    }
  }

  private Storage allocate(Device device, long bytes) {
    return new Block(device, host.allocate(isAccelerator(device) ? Device.CPU : device, bytes));
  }

  private static boolean isAccelerator(Device device) {
    return device.kind() == Device.Kind.CUDA && device.index() < DEVICES;
  }

  private @Nullable Object kernel(Method kernel, Object[] arguments) throws Throwable {
    List<Device> devices =
        Arrays.stream(arguments)
            .filter(Tensor.class::isInstance)
            .map(tensor -> ((Tensor) tensor).device())
            .distinct()
            .toList();
    if (devices.size() > 1 && !kernel.getName().equals("copy")) {
      throw new IllegalArgumentException(kernel.getName() + " was given tensors of " + devices);
    }
    Object[] shadows = Arrays.stream(arguments).map(PretendedAccelerator::shadow).toArray();
    if (kernel.getReturnType() != void.class) {
      runQueue();
      return run(new Launch(kernel, shadows));
    }
    if (timing == Timing.AT_ONCE || devices.stream().allMatch(Device::isCpu)) {
      run(new Launch(kernel, shadows));
    } else {
      queue.add(() -> runLate(new Launch(kernel, shadows)));
    }
    return null;
  }

  /** The same elements as the host's engine knows them. */
  private static Object shadow(Object argument) {
    if (!(argument instanceof Tensor tensor)) {
      return argument;
    }
    if (tensor.isClosed()) {
      throw new IllegalStateException("The " + tensor + " was used after it was closed");
    }
    Block block = (Block) tensor.storage();
    return Tensor.strided(block, tensor.offset(), tensor.dtype(), tensor.shape(), tensor.strides());
  }

  private void runLate(Launch launch) {
    try {
      run(launch);
    } catch (RuntimeException | Error e) {
      throw e;
    } catch (Throwable e) {
      throw new IllegalStateException(e);
    }
  }

  private @Nullable Object run(Launch launch) throws Throwable {
    List<Tensor> inner = new ArrayList<>();
    Object[] arguments = launch.arguments().clone();
    for (int i = 0; i < arguments.length; i++) {
      if (arguments[i] instanceof Tensor shadow) {
        Tensor tensor =
            Tensor.strided(
                ((Block) shadow.storage()).memory(launch.kernel()),
                shadow.offset(),
                shadow.dtype(),
                shadow.shape(),
                shadow.strides());
        inner.add(tensor);
        arguments[i] = tensor;
      }
    }
    try {
      return invoke(launch.kernel(), arguments);
    } finally {
      inner.forEach(Tensor::close);
    }
  }

  private @Nullable Object invoke(Method method, Object @Nullable [] arguments) throws Throwable {
    try {
      return method.invoke(host, arguments);
    } catch (InvocationTargetException e) {
      throw e.getCause();
    }
  }

  private void runQueue() {
    for (Runnable next = queue.poll(); next != null; next = queue.poll()) {
      next.run();
    }
  }

  private final class Block implements Storage {
    private final Device device;
    private final Storage memory;
    private boolean isFreed;

    Block(Device device, Storage memory) {
      this.device = device;
      this.memory = memory;
    }

    Storage memory(Method kernel) {
      if (isFreed) {
        throw new IllegalStateException(
            "A block of "
                + memory.byteSize()
                + " bytes on "
                + device
                + " was freed before "
                + kernel.getName()
                + " ran: synchronize first");
      }
      return memory;
    }

    @Override
    public Device device() {
      return device;
    }

    @Override
    public long byteSize() {
      return memory.byteSize();
    }

    @Override
    public long address() {
      return memory.address();
    }

    @Override
    public ByteBuffer byteBuffer(long byteOffset, int byteCount) {
      if (!device.isCpu()) {
        throw new UnsupportedOperationException("The host cannot address memory of " + device);
      }
      return memory.byteBuffer(byteOffset, byteCount);
    }

    @Override
    public void free() {
      isFreed = true;
      memory.free();
    }
  }
}
