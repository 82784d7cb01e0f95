@NullMarked
package dev.phalanx.launcher.command;

import org.jspecify.annotations.NullMarked;
