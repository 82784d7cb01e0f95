/**
 * Text to token ids and back.
 *
 * <p>May use jtokkit and the Hugging Face tokenizers library, nothing of Phalanx. Start with {@link
 * dev.phalanx.trainer.tokenizer.Tokenizer}; {@link dev.phalanx.trainer.tokenizer.Tokenizers} opens
 * the one that a plan file names. Nothing here ever opens a network connection.
 */
@NullMarked
package dev.phalanx.trainer.tokenizer;

import org.jspecify.annotations.NullMarked;
