/** Tests of NCCL's transport: on a pretended NCCL, and on a real one where there is a GPU. */
@NullMarked
package dev.phalanx.collectives.transport.nccl;

import org.jspecify.annotations.NullMarked;
