@NullMarked
package dev.phalanx.trainer;

import org.jspecify.annotations.NullMarked;
