package dev.phalanx.tensor.conformance;

import dev.phalanx.tensor.EngineProvider;
import org.junit.jupiter.api.Nested;

/**
 * The whole suite for one engine: a subclass in the engine's module names the provider, and each
 * group of kernels becomes a nested class of tests.
 */
public abstract class EngineConformance {
  /** The engine to check. */
  protected abstract EngineProvider provider();

  /**
   * Elements of the tensors that are to have more than an {@code int} counts. An engine that only
   * hands calls on to one that is checked may take fewer.
   */
  protected long manyElements() {
    return LargeTensorConformance.COUNT;
  }

  @Nested
  class Memory extends MemoryConformance {
    @Override
    protected EngineProvider provider() {
      return EngineConformance.this.provider();
    }
  }

  @Nested
  class Threads extends ThreadConformance {
    @Override
    protected EngineProvider provider() {
      return EngineConformance.this.provider();
    }
  }

  @Nested
  class Elementwise extends ElementwiseConformance {
    @Override
    protected EngineProvider provider() {
      return EngineConformance.this.provider();
    }
  }

  @Nested
  class Reductions extends ReductionConformance {
    @Override
    protected EngineProvider provider() {
      return EngineConformance.this.provider();
    }
  }

  @Nested
  class MatrixProducts extends MatrixProductConformance {
    @Override
    protected EngineProvider provider() {
      return EngineConformance.this.provider();
    }
  }

  @Nested
  class Norms extends NormConformance {
    @Override
    protected EngineProvider provider() {
      return EngineConformance.this.provider();
    }
  }

  @Nested
  class Positions extends PositionConformance {
    @Override
    protected EngineProvider provider() {
      return EngineConformance.this.provider();
    }
  }

  @Nested
  class Attention extends AttentionConformance {
    @Override
    protected EngineProvider provider() {
      return EngineConformance.this.provider();
    }
  }

  @Nested
  class Losses extends LossConformance {
    @Override
    protected EngineProvider provider() {
      return EngineConformance.this.provider();
    }
  }

  @Nested
  class Optimizers extends OptimizerConformance {
    @Override
    protected EngineProvider provider() {
      return EngineConformance.this.provider();
    }
  }

  @Nested
  class LargeTensors extends LargeTensorConformance {
    @Override
    protected EngineProvider provider() {
      return EngineConformance.this.provider();
    }

    @Override
    protected long count() {
      return manyElements();
    }
  }

  @Nested
  class Gradients extends GradientConformance {
    @Override
    protected EngineProvider provider() {
      return EngineConformance.this.provider();
    }
  }
}
