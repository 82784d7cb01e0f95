@NullMarked
package dev.phalanx.launcher.terminal;

import org.jspecify.annotations.NullMarked;
