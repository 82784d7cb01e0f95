@NullMarked
package dev.phalanx.trainer.rehearsal;

import org.jspecify.annotations.NullMarked;
