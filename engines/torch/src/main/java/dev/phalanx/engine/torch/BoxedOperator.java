package dev.phalanx.engine.torch;

import org.bytedeco.pytorch.Dispatcher;
import org.bytedeco.pytorch.IValue;
import org.bytedeco.pytorch.IValueVector;
import org.bytedeco.pytorch.OperatorHandle;
import org.bytedeco.pytorch.Tensor;

/**
 * An operator of LibTorch called through its dispatcher, for those that have no C++ function of
 * their own: arguments are pushed in the order of the schema, results take their place.
 */
final class BoxedOperator implements AutoCloseable {
  private final OperatorHandle operator;
  private final IValueVector stack = new IValueVector();

  BoxedOperator(String name, String overload) {
    this.operator = new OperatorHandle(Dispatcher.singleton().findSchemaOrThrow(name, overload));
  }

  /** Calls the operator; its results are there until {@link #forget}. */
  void call(IValue... arguments) {
    stack.resize(arguments.length);
    for (int i = 0; i < arguments.length; i++) {
      stack.put(i, arguments[i]);
    }
    try {
      operator.callBoxed(stack);
    } catch (RuntimeException e) {
      stack.clear();
      throw e;
    }
  }

  /** Result {@code index}; it belongs to the operator, so do not close it. */
  Tensor result(int index) {
    return stack.get(index).toTensor();
  }

  /** Gives the results up. */
  void forget() {
    stack.clear();
  }

  @Override
  public void close() {
    stack.close();
    operator.close();
  }
}
