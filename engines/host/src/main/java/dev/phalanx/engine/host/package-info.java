/**
 * What engines that compute in host memory share: threads that divide kernels among engines ({@code
 * TeamEngine}), checks of arguments, blocks of memory, and what oneDNN and OpenBLAS do alone.
 *
 * <p>Uses the tensor package, JavaCPP, oneDNN and OpenBLAS; knows no engine.
 */
@NullMarked
package dev.phalanx.engine.host;

import org.jspecify.annotations.NullMarked;
