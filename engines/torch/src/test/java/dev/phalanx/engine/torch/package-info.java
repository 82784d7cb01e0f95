@NullMarked
package dev.phalanx.engine.torch;

import org.jspecify.annotations.NullMarked;
