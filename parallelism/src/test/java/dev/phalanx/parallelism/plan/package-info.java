@NullMarked
package dev.phalanx.parallelism.plan;

import org.jspecify.annotations.NullMarked;
