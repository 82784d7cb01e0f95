package dev.phalanx.trainer;

import java.util.Optional;

/**
 * What a checkpoint remembers of a job's data.
 *
 * @param tokenizer what text is encoded with, where that is known
 * @param samplesPerEpoch training samples until they come again, {@link Long#MAX_VALUE} where they
 *     never do
 */
record DataIdentity(Optional<String> tokenizer, long samplesPerEpoch) {}
