/**
 * What engines that compute in host memory share: threads that divide kernels among engines ({@code
 * TeamEngine}), checks of arguments, blocks of memory, and what OpenBLAS does alone.
 *
 * <p>Uses the tensor package, JavaCPP and OpenBLAS; knows no engine.
 */
@NullMarked
package dev.phalanx.engine.host;

import org.jspecify.annotations.NullMarked;
