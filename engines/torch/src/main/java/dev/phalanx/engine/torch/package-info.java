/**
 * The engine on LibTorch, through the JavaCPP presets for PyTorch, in fp32 and bf16 on the CPU.
 *
 * <p>Uses the tensor package, the host package of the engines and LibTorch. {@link
 * dev.phalanx.engine.torch.TorchEngineProvider} is what the {@code ServiceLoader} finds; read
 * {@code TorchEngine} first, then {@code TorchContext}, which turns our tensors into LibTorch's,
 * and the groups of kernels: {@code MatrixProducts}, {@code Attention} and so on.
 */
@NullMarked
package dev.phalanx.engine.torch;

import org.jspecify.annotations.NullMarked;
