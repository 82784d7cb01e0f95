/**
 * Context parallelism: ranks that divide each sequence, and attention whose keys and values go
 * round them in a ring (Liu et al., 2023, "Ring Attention with Blockwise Transformers for
 * Near-Infinite Context").
 */
@NullMarked
package dev.phalanx.parallelism.context;

import org.jspecify.annotations.NullMarked;
