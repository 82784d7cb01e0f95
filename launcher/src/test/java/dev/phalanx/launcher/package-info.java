@NullMarked
package dev.phalanx.launcher;

import org.jspecify.annotations.NullMarked;
