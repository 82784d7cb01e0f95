package dev.phalanx.trainer.model;

import static org.assertj.core.api.Assertions.assertThat;

import dev.phalanx.tensor.autograd.Parameter;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Test;

/** Which parameters are matrices of hidden layers, and of how many. */
final class HiddenMatricesTest {
  private static Map<String, List<Long>> matrices(Family family, boolean isTied) {
    TransformerConfig config =
        new TransformerConfig(
            family,
            1,
            12,
            3,
            family == Family.LLAMA ? 1 : 3,
            20,
            8,
            50,
            0,
            isTied,
            1e-5,
            10000,
            new RotaryScaling.None(),
            false,
            Optional.empty());
    Transformer model = new Transformer(config, new Initialization.Empty());
    Map<String, List<Long>> matrices = new LinkedHashMap<>();
    for (Parameter parameter : model.parameters()) {
      List<Long> rows = model.hiddenMatrices(parameter);
      if (!rows.isEmpty()) {
        matrices.put(parameter.name(), rows);
        assertThat(rows.stream().mapToLong(Long::longValue).sum())
            .isEqualTo(parameter.shape().size(0));
      }
    }
    return matrices;
  }

  @Test
  void queriesKeysAndValuesAreMatricesOfTheirOwn() {
    assertThat(matrices(Family.GPT2, true))
        .containsExactly(
            Map.entry("h.0.qkv.weight", List.of(12L, 12L, 12L)),
            Map.entry("h.0.proj.weight", List.of(12L)),
            Map.entry("h.0.fc.weight", List.of(20L)),
            Map.entry("h.0.out.weight", List.of(12L)));
  }

  @Test
  void soAreTheHalvesOfAGatedLayerAndNeitherTablesNorTheHeadAre() {
    assertThat(matrices(Family.LLAMA, false))
        .containsExactly(
            Map.entry("h.0.qkv.weight", List.of(12L, 4L, 4L)),
            Map.entry("h.0.proj.weight", List.of(12L)),
            Map.entry("h.0.fc.weight", List.of(20L, 20L)),
            Map.entry("h.0.out.weight", List.of(12L)));
  }
}
