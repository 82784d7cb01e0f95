@NullMarked
package dev.phalanx.collectives.algorithm;

import org.jspecify.annotations.NullMarked;
