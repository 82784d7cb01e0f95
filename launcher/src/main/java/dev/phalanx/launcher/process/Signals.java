package dev.phalanx.launcher.process;

import java.lang.reflect.InvocationHandler;
import java.lang.reflect.Proxy;

/**
 * Signals of the operating system. The JDK has them in a class that is supported but not part of
 * the platform's interface, so it is reached by its name; on a JDK without it signals keep their
 * default action.
 */
public final class Signals {
  private Signals() {}

  /**
   * Runs {@code action} on a thread of its own each time the signal comes, instead of its default
   * action.
   *
   * @param name {@code INT}, {@code TERM} or {@code HUP}
   * @return whether this JDK could do it
   */
  public static boolean handle(String name, Runnable action) {
    try {
      Class<?> signal = Class.forName("sun.misc.Signal");
      Class<?> handler = Class.forName("sun.misc.SignalHandler");
      InvocationHandler invocation =
          (proxy, method, arguments) -> {
            if (method.getDeclaringClass() == Object.class) {
              return method.invoke(action, arguments);
            }
            action.run();
            return null;
          };
      Object proxy =
          Proxy.newProxyInstance(handler.getClassLoader(), new Class<?>[] {handler}, invocation);
      signal
          .getMethod("handle", signal, handler)
          .invoke(null, signal.getConstructor(String.class).newInstance(name), proxy);
      return true;
    } catch (ReflectiveOperationException | IllegalArgumentException e) {
      return false;
    }
  }

  /** Lets the signal do nothing. */
  public static boolean ignore(String name) {
    return handle(name, () -> {});
  }
}
