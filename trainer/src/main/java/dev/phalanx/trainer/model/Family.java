package dev.phalanx.trainer.model;

/** The model families that differ in their parts. */
public enum Family {
  /** Learned positions, LayerNorm, GELU, biases (Radford et al., 2019). */
  GPT2,
  /** Rotary positions, RMSNorm, SwiGLU, grouped-query heads, no biases (Touvron et al., 2023). */
  LLAMA
}
