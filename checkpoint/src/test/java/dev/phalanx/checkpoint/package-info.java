@NullMarked
package dev.phalanx.checkpoint;

import org.jspecify.annotations.NullMarked;
