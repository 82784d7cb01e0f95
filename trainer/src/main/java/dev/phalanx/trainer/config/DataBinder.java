package dev.phalanx.trainer.config;

import dev.phalanx.trainer.config.JobConfig.Data;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** The section {@code data}. */
final class DataBinder {
  private static final long REFERENCE_SEED = 20240602;

  private DataBinder() {}

  enum Kind implements Choice {
    TEXT,
    TOKENS,
    REFERENCE
  }

  static Data bind(Section section, long jobSeed) {
    Kind kind =
        section.kind(
            "kind",
            Kind.class,
            Optional.of(Kind.TEXT),
            Map.of(
                Kind.TEXT, List.of("path", "tokenizer"),
                Kind.TOKENS, List.of("path", "tokenizer")));
    Data data =
        switch (kind) {
          case TEXT ->
              new Data.Text(
                  section.text("path", "data/moby-dick.txt").required(),
                  section.text("tokenizer", "bytes").orElse("bytes"),
                  section.whole("seed").orElse(jobSeed));
          case TOKENS ->
              new Data.Tokens(
                  section.text("path", "data/book.tokens").required(),
                  section.text("tokenizer", "gpt2").optional(),
                  section.whole("seed").orElse(jobSeed));
          case REFERENCE -> new Data.Reference(section.whole("seed").orElse(REFERENCE_SEED));
        };
    section.end();
    return data;
  }
}
