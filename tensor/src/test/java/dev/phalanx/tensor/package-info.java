/** Helpers of tests in every module. */
@NullMarked
package dev.phalanx.tensor;

import org.jspecify.annotations.NullMarked;
