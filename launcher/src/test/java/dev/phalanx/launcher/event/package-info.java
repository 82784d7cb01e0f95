@NullMarked
package dev.phalanx.launcher.event;

import org.jspecify.annotations.NullMarked;
