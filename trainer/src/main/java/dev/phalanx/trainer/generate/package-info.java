/**
 * Text from a trained model.
 *
 * <p>May use the models, tokenizers and checkpoints. Start with {@link
 * dev.phalanx.trainer.generate.GenerationModel}, which loads a model, and {@link
 * dev.phalanx.trainer.generate.Generator}, which asks it for tokens.
 */
@NullMarked
package dev.phalanx.trainer.generate;

import org.jspecify.annotations.NullMarked;
