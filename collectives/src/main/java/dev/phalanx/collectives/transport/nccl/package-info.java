/**
 * Ranks with a GPU each exchange tensors in device memory by NVIDIA's NCCL.
 *
 * <p>NCCL brings its own algorithms, so this is a {@code Communicator} and no {@code Transport}.
 * Start with {@link dev.phalanx.collectives.transport.nccl.NcclCommunicator}; {@code CommandQueue}
 * is the thread that owns what NCCL made, and {@code Nccl} the calls as the rest of the package
 * sees them. {@code JavaCppNccl} alone uses the optional library {@code org.bytedeco:cuda}: nothing
 * else here needs it to be loaded.
 */
@NullMarked
package dev.phalanx.collectives.transport.nccl;

import org.jspecify.annotations.NullMarked;
