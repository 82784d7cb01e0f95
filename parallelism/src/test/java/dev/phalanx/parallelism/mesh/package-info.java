@NullMarked
package dev.phalanx.parallelism.mesh;

import org.jspecify.annotations.NullMarked;
