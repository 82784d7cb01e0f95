@NullMarked
package dev.phalanx.engine.host;

import org.jspecify.annotations.NullMarked;
