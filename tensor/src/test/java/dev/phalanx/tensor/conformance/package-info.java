/**
 * What every engine must do, as abstract tests: an engine's module extends {@link
 * dev.phalanx.tensor.conformance.EngineConformance} and names its provider.
 *
 * <p>Uses the tensor package and nothing of an engine. Start with {@link
 * dev.phalanx.tensor.conformance.KernelConformance}, the base of the groups, and {@link
 * dev.phalanx.tensor.conformance.ReferenceKernels}.
 */
@NullMarked
package dev.phalanx.tensor.conformance;

import org.jspecify.annotations.NullMarked;
