@NullMarked
package dev.phalanx.engine.nd4j;

import org.jspecify.annotations.NullMarked;
