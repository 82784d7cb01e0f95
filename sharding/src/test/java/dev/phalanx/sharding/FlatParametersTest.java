package dev.phalanx.sharding;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.phalanx.tensor.Arena;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Shape;
import dev.phalanx.tensor.Tensor;
import dev.phalanx.tensor.autograd.Parameter;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.Example;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;

final class FlatParametersTest {
  @Provide
  Arbitrary<List<Shape>> models() {
    return ModelShapes.arbitrary();
  }

  @Property(tries = 100)
  void everyParameterLiesInFlatMemoryOnceAndWithoutGapsTheLastUsedFirst(
      @ForAll("models") List<Shape> shapes) {
    try (FlatModel model = new FlatModel(DType.FLOAT32, shapes)) {
      FlatParameters flat = model.flat();
      List<Parameter> lastUsedFirst = new ArrayList<>(model.parameters());
      Collections.reverse(lastUsedFirst);

      assertThat(flat.parameters()).containsExactlyElementsOf(lastUsedFirst);
      long end = 0;
      for (Parameter parameter : flat.parameters()) {
        assertThat(flat.offset(parameter)).isEqualTo(end);
        end += parameter.shape().elementCount();
      }
      assertThat(flat.elementCount()).isEqualTo(end);
      for (Tensor whole : List.of(flat.master(), flat.values(), flat.gradients())) {
        assertThat(whole.shape()).isEqualTo(Shape.of(end));
      }
    }
  }

  @Property(tries = 100)
  void whatIsWrittenToAParameterStandsInFlatMemory(@ForAll("models") List<Shape> shapes) {
    try (FlatModel model = new FlatModel(DType.FLOAT32, shapes)) {
      FlatParameters flat = model.flat();
      for (Parameter parameter : model.parameters()) {
        long offset = flat.offset(parameter);
        FlatModel.write(parameter.gradient(), i -> offset + i);
        FlatModel.write(parameter.value(), i -> -offset - i);
      }

      double[] gradients = FlatModel.read(flat.gradients());
      double[] master = FlatModel.read(flat.master());
      for (int i = 0; i < flat.elementCount(); i++) {
        assertThat(gradients[i]).isEqualTo(i);
        assertThat(master[i]).isEqualTo(-i);
      }
    }
  }

  @Property(tries = 100)
  void slicesHaveTheParametersShapeAndPlace(@ForAll("models") List<Shape> shapes) {
    try (FlatModel model = new FlatModel(DType.BFLOAT16, shapes)) {
      FlatParameters flat = model.flat();
      for (Parameter parameter : model.parameters()) {
        long offset = flat.offset(parameter);
        for (Tensor whole : List.of(flat.master(), flat.values(), flat.gradients())) {
          Tensor slice = flat.slice(whole, parameter);
          assertThat(slice.shape()).isEqualTo(parameter.shape());
          assertThat(slice.storage()).isSameAs(whole.storage());
          assertThat(slice.address()).isEqualTo(whole.address() + whole.dtype().bytes(offset));
        }
        assertThat(parameter.value().address())
            .isEqualTo(flat.slice(flat.values(), parameter).address());
        assertThat(parameter.gradient().address())
            .isEqualTo(flat.slice(flat.gradients(), parameter).address());
      }
    }
  }

  @Property(tries = 100)
  void segmentsAreTheLongestRunsThatDecayTreatsAlike(@ForAll("models") List<Shape> shapes) {
    try (FlatModel model = new FlatModel(DType.FLOAT32, shapes)) {
      FlatParameters flat = model.flat();
      List<FlatParameters.Segment> segments = flat.segments();

      long end = 0;
      for (int i = 0; i < segments.size(); i++) {
        FlatParameters.Segment segment = segments.get(i);
        assertThat(segment.offset()).isEqualTo(end);
        end += segment.count();
        if (i > 0) {
          assertThat(segment.isDecayed()).isNotEqualTo(segments.get(i - 1).isDecayed());
        }
      }
      assertThat(end).isEqualTo(flat.elementCount());
      for (Parameter parameter : model.parameters()) {
        FlatParameters.Segment owner =
            segments.stream()
                .filter(segment -> contains(segment, flat.offset(parameter)))
                .findFirst()
                .orElseThrow();
        assertThat(owner.isDecayed()).isEqualTo(parameter.shape().rank() >= 2);
      }
    }
  }

  private static boolean contains(FlatParameters.Segment segment, long element) {
    return element >= segment.offset() && element < segment.offset() + segment.count();
  }

  @Example
  void fp32ComputesOnTheMasterValuesThemselves() {
    try (FlatModel model = FlatModel.of(Shape.of(3, 5), Shape.of(5))) {
      assertThat(model.flat().values()).isSameAs(model.flat().master());
    }
  }

  @Example
  void bf16ValuesFollowTheMasterValuesWhenRefreshed() {
    try (FlatModel model = new FlatModel(DType.BFLOAT16, List.of(Shape.of(3)))) {
      FlatParameters flat = model.flat();
      FlatModel.write(flat.master(), i -> 1 + i / 256.0); // the middle one is a tie: to even

      flat.refreshValues();

      assertThat(FlatModel.read(flat.values())).containsExactly(1, 1, 1 + 2 / 256.0);
      assertThat(FlatModel.read(flat.master())).containsExactly(1, 1 + 1 / 256.0, 1 + 2 / 256.0);
    }
  }

  @Example
  void initializersSeeTheirOwnSeedAndElementNumbersAlsoInLargeParameters() {
    long large = (1L << 20) + 3; // more than is staged at once
    try (FlatModel model = FlatModel.of(Shape.of(2, 3), Shape.of(large), Shape.of())) {
      FlatParameters flat = model.flat();

      flat.initialize(parameter -> 10L * model.parameters().indexOf(parameter));

      assertThat(FlatModel.read(model.parameters().get(0).value()))
          .containsExactly(0, 1, 2, 3, 4, 5);
      double[] values = FlatModel.read(model.parameters().get(1).value());
      for (int i = 0; i < large; i++) {
        if (values[i] != 10 + i) {
          assertThat(values[i]).as("element %d", i).isEqualTo(10 + i);
        }
      }
      assertThat(FlatModel.read(model.parameters().get(2).value())).containsExactly(20);
    }
  }

  @Example
  void aParameterGivenTwiceIsRefused() {
    try (FlatModel model = FlatModel.of(Shape.of(1))) {
      Parameter twice = new Parameter("twice", Shape.of(4), (seed, element) -> 0);
      Arena arena = model.arena();

      assertThatThrownBy(() -> new FlatParameters(arena, List.of(twice, twice), DType.FLOAT32))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageContaining("twice [4]")
          .hasMessageContaining("given twice");
    }
  }

  @Example
  void aParameterOfAnotherModelIsRefused() {
    try (FlatModel model = FlatModel.of(Shape.of(4))) {
      Parameter foreign = new Parameter("foreign", Shape.of(4), (seed, element) -> 0);

      assertThatThrownBy(() -> model.flat().offset(foreign))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageContaining("foreign");
    }
  }
}
