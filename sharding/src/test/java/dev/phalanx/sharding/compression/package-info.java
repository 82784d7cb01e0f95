@NullMarked
package dev.phalanx.sharding.compression;

import org.jspecify.annotations.NullMarked;
