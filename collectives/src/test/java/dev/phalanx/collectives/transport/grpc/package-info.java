@NullMarked
package dev.phalanx.collectives.transport.grpc;

import org.jspecify.annotations.NullMarked;
