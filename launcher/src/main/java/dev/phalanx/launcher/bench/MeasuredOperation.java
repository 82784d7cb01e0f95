package dev.phalanx.launcher.bench;

import java.util.Locale;

/** The operations that can be measured. */
public enum MeasuredOperation {
  ALL_REDUCE {
    @Override
    double busFactor(int ranks) {
      return 2.0 * (ranks - 1) / ranks;
    }
  },
  REDUCE_SCATTER {
    @Override
    double busFactor(int ranks) {
      return (ranks - 1.0) / ranks;
    }
  },
  ALL_GATHER {
    @Override
    double busFactor(int ranks) {
      return (ranks - 1.0) / ranks;
    }
  },
  BROADCAST {
    @Override
    double busFactor(int ranks) {
      return 1;
    }
  },
  REDUCE {
    @Override
    double busFactor(int ranks) {
      return 1;
    }
  },
  GATHER {
    @Override
    double busFactor(int ranks) {
      return (ranks - 1.0) / ranks;
    }
  },
  SCATTER {
    @Override
    double busFactor(int ranks) {
      return (ranks - 1.0) / ranks;
    }
  },
  ALL_TO_ALL {
    @Override
    double busFactor(int ranks) {
      return (ranks - 1.0) / ranks;
    }
  },
  /** Every rank sends to the one after it and receives from the one before. */
  SEND_RECEIVE {
    @Override
    double busFactor(int ranks) {
      return 1;
    }
  };

  boolean isReduction() {
    return this == ALL_REDUCE || this == REDUCE_SCATTER || this == REDUCE;
  }

  /**
   * What an algorithm's bandwidth is multiplied with to become that of the busiest link, which does
   * not depend on the number of ranks.
   */
  abstract double busFactor(int ranks);

  /** As commands and tables write it. */
  public String label() {
    return name().toLowerCase(Locale.ROOT);
  }
}
