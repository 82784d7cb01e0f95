@NullMarked
package dev.phalanx.launcher.process;

import org.jspecify.annotations.NullMarked;
