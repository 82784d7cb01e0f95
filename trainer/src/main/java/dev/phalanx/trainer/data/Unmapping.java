package dev.phalanx.trainer.data;

import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;
import java.lang.reflect.Field;
import java.nio.ByteBuffer;
import java.nio.MappedByteBuffer;
import org.jspecify.annotations.Nullable;

/**
 * Unmaps a buffer now instead of when the garbage collector finds it. Java 17 has no supported call
 * for this; {@code Unsafe.invokeCleaner} of the module jdk.unsupported is what it offers. Where
 * that is missing the collector frees the mapping later.
 */
final class Unmapping {
  private static final @Nullable MethodHandle INVOKE_CLEANER = find();

  private Unmapping() {}

  static void unmap(MappedByteBuffer buffer) {
    MethodHandle invokeCleaner = INVOKE_CLEANER;
    if (invokeCleaner == null) {
      return;
    }
    try {
      invokeCleaner.invoke(buffer);
    } catch (Throwable e) {
      throw new IllegalStateException("a mapped file cannot be unmapped", e);
    }
  }

  private static @Nullable MethodHandle find() {
    try {
      Class<?> unsafe = Class.forName("sun.misc.Unsafe");
      Field instance = unsafe.getDeclaredField("theUnsafe");
      instance.setAccessible(true);
      return MethodHandles.lookup()
          .findVirtual(unsafe, "invokeCleaner", MethodType.methodType(void.class, ByteBuffer.class))
          .bindTo(instance.get(null));
    } catch (ReflectiveOperationException | RuntimeException e) {
      return null;
    }
  }
}
