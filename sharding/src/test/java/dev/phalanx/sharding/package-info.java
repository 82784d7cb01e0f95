@NullMarked
package dev.phalanx.sharding;

import org.jspecify.annotations.NullMarked;
