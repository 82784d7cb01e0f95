@NullMarked
package dev.phalanx.collectives.transport.shm;

import org.jspecify.annotations.NullMarked;
