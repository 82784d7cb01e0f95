@NullMarked
package dev.phalanx.collectives.rendezvous;

import org.jspecify.annotations.NullMarked;
