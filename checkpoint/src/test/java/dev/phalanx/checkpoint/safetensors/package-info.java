@NullMarked
package dev.phalanx.checkpoint.safetensors;

import org.jspecify.annotations.NullMarked;
