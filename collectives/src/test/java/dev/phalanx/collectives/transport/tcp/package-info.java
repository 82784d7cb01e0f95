@NullMarked
package dev.phalanx.collectives.transport.tcp;

import org.jspecify.annotations.NullMarked;
