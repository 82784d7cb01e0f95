/** Whole jobs: several ranks, real processes, bad input, faults. */
@NullMarked
package dev.phalanx.integration;

import org.jspecify.annotations.NullMarked;
