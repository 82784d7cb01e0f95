@NullMarked
package dev.phalanx.collectives;

import org.jspecify.annotations.NullMarked;
