@NullMarked
package dev.phalanx.trainer.model;

import org.jspecify.annotations.NullMarked;
