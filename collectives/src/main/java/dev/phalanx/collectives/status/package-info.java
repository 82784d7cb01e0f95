/**
 * Where ranks are in the operations of their groups, for whoever has waited in vain.
 *
 * <p>{@link dev.phalanx.collectives.status.StatusBoard} is the place to start reading.
 */
@NullMarked
package dev.phalanx.collectives.status;

import org.jspecify.annotations.NullMarked;
