@NullMarked
package dev.phalanx.collectives.transport.handshake;

import org.jspecify.annotations.NullMarked;
