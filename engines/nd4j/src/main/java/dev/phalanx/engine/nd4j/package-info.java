/**
 * The engine on ND4J, in fp32 on the CPU: oneDNN and OpenBLAS for products of matrices, ND4J's
 * native operations for copies between types and arithmetic element by element, and loops of our
 * own for the rest, each because it was measured to be faster (docs/engines.md).
 *
 * <p>Uses the tensor package, the host package of the engines and ND4J. {@link
 * dev.phalanx.engine.nd4j.Nd4jEngineProvider} is what the {@code ServiceLoader} finds; read {@code
 * Nd4jEngine} first, then {@code NativeArrays}, which calls ND4J, and {@code FloatPiece}, on which
 * our own loops work.
 */
@NullMarked
package dev.phalanx.engine.nd4j;

import org.jspecify.annotations.NullMarked;
