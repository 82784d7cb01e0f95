package dev.phalanx.integration;

import static com.tngtech.archunit.base.DescribedPredicate.alwaysTrue;
import static com.tngtech.archunit.base.DescribedPredicate.not;
import static com.tngtech.archunit.core.domain.JavaClass.Predicates.belongToAnyOf;
import static com.tngtech.archunit.core.domain.JavaClass.Predicates.resideInAPackage;
import static com.tngtech.archunit.core.domain.JavaClass.Predicates.resideInAnyPackage;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.fields;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;
import static com.tngtech.archunit.library.dependencies.SlicesRuleDefinition.slices;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.tngtech.archunit.core.domain.JavaClass;
import com.tngtech.archunit.core.domain.JavaClasses;
import com.tngtech.archunit.core.domain.JavaModifier;
import com.tngtech.archunit.core.importer.ClassFileImporter;
import com.tngtech.archunit.core.importer.ImportOption;
import com.tngtech.archunit.core.importer.Location;
import com.tngtech.archunit.lang.ArchRule;
import com.tngtech.archunit.library.dependencies.SliceAssignment;
import com.tngtech.archunit.library.dependencies.SliceIdentifier;
import dev.phalanx.checkpoint.BadCheckpointException;
import dev.phalanx.collectives.CollectiveException;
import dev.phalanx.collectives.CollectiveMismatchException;
import dev.phalanx.collectives.CollectiveTimeoutException;
import dev.phalanx.collectives.PointToPoint;
import dev.phalanx.collectives.ReduceOperation;
import dev.phalanx.collectives.Traffic;
import java.io.ObjectInputStream;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/** The arrows of docs/architecture.md, and the house's rules that a compiler does not check. */
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
final class HouseTest {
  private static final String HOUSE = "dev.phalanx..";

  /** What protoc generates. */
  private static final String GENERATED = "dev.phalanx.collectives.rendezvous.wire..";

  /**
   * Values and exceptions of a module's public API that its inner packages speak of too. Nothing
   * else of a module's root may be used from below.
   */
  private static final Class<?>[] VOCABULARY = {
    CollectiveException.class,
    CollectiveMismatchException.class,
    CollectiveTimeoutException.class,
    PointToPoint.class,
    ReduceOperation.class,
    Traffic.class,
    BadCheckpointException.class
  };

  /**
   * The one place that calls native code, beside engines and what sees ND4J's arrays as tensors.
   */
  private static final String NCCL = "dev.phalanx.collectives.transport.nccl";

  /** A module, and of the house's modules those that it may use. */
  enum Module {
    TENSOR("dev.phalanx.tensor"),
    HOST("dev.phalanx.engine.host", TENSOR),
    TORCH("dev.phalanx.engine.torch", TENSOR, HOST),
    ND4J("dev.phalanx.engine.nd4j", TENSOR, HOST),
    COLLECTIVES("dev.phalanx.collectives", TENSOR),
    PARALLELISM("dev.phalanx.parallelism", TENSOR, COLLECTIVES),
    SHARDING("dev.phalanx.sharding", TENSOR, COLLECTIVES),
    CHECKPOINT("dev.phalanx.checkpoint", TENSOR),
    TRAINER("dev.phalanx.trainer", TENSOR, COLLECTIVES, PARALLELISM, SHARDING, CHECKPOINT),
    DEEPLEARNING4J(
        "dev.phalanx.deeplearning4j",
        TENSOR,
        COLLECTIVES,
        PARALLELISM,
        SHARDING,
        CHECKPOINT,
        TRAINER),
    LAUNCHER(
        "dev.phalanx.launcher", TENSOR, COLLECTIVES, PARALLELISM, SHARDING, CHECKPOINT, TRAINER);

    private final String root;
    private final List<Module> mayUse;

    Module(String root, Module... mayUse) {
      this.root = root;
      this.mayUse = List.of(mayUse);
    }

    private String packages() {
      return root + "..";
    }

    private String[] allowed() {
      return Stream.concat(Stream.of(this), mayUse.stream())
          .map(Module::packages)
          .toArray(String[]::new);
    }
  }

  private JavaClasses house = new ClassFileImporter().importClasses(List.of());

  @BeforeAll
  void importProductionClasses() {
    house =
        new ClassFileImporter()
            .withImportOption(HouseTest::isProduction)
            .importPackages("dev.phalanx");
  }

  /** Neither this module's classes nor another module's jar of tests. */
  private static boolean isProduction(Location location) {
    return ImportOption.Predefined.DO_NOT_INCLUDE_TESTS.includes(location)
        && !location.contains("-tests.jar")
        && !location.contains("/test-classes/");
  }

  @Test
  void productionClassesOfEveryModuleAreLookedAtAndNoTests() {
    assertThat(house).hasSizeGreaterThan(200);
    assertThat(Module.values())
        .allSatisfy(
            module -> assertThat(house.that(resideInAPackage(module.packages()))).isNotEmpty());
    assertThat(house).noneMatch(found -> found.getPackageName().contains("conformance"));
    assertThat(house.that(not(resideInAnyPackage(packagesOfAllModules())))).isEmpty();
  }

  private static String[] packagesOfAllModules() {
    return Arrays.stream(Module.values()).map(Module::packages).toArray(String[]::new);
  }

  @Test
  void anArrowInTheWrongDirectionIsFound() {
    ArchRule upsideDown = usesOnly(Module.TENSOR.packages(), Module.TRAINER.packages());

    assertThatThrownBy(() -> upsideDown.check(house))
        .isInstanceOf(AssertionError.class)
        .hasMessageContaining("dev.phalanx.tensor.Tensor");
  }

  @ParameterizedTest
  @EnumSource
  void aModuleUsesOnlyThoseThatItsArrowsPointTo(Module module) {
    usesOnly(module.packages(), module.allowed()).check(house);
  }

  private static ArchRule usesOnly(String from, String... allowed) {
    return noClasses()
        .that()
        .resideInAPackage(from)
        .should()
        .dependOnClassesThat(resideInAPackage(HOUSE).and(not(resideInAnyPackage(allowed))))
        .as("%s uses of this house only %s".formatted(from, String.join(", ", allowed)));
  }

  @ParameterizedTest
  @EnumSource(names = {"TENSOR", "PARALLELISM"})
  void theFoundationsUseTheHouseAndTheJdkAlone(Module module) {
    noClasses()
        .that()
        .resideInAPackage(module.packages())
        .should()
        .dependOnClassesThat(
            not(
                resideInAnyPackage(
                    Stream.concat(
                            Arrays.stream(module.allowed()),
                            Stream.of("java..", "org.jspecify.annotations..", "org.slf4j.."))
                        .toArray(String[]::new))))
        .check(house);
  }

  @Test
  void nativeCodeIsReachedThroughEnginesNd4jAndNcclOnly() {
    noClasses()
        .that()
        .resideOutsideOfPackages(
            Stream.of(
                    Module.HOST.packages(),
                    Module.TORCH.packages(),
                    Module.ND4J.packages(),
                    Module.DEEPLEARNING4J.packages(),
                    NCCL)
                .toArray(String[]::new))
        .should()
        .dependOnClassesThat()
        .resideInAnyPackage("org.bytedeco..", "org.nd4j..")
        .check(house);
  }

  @ParameterizedTest
  @EnumSource
  void thePackagesOfAModuleDependOnEachOtherInOneDirection(Module module) {
    slices()
        .assignedFrom(packagesOf(module))
        .should()
        .beFreeOfCycles()
        .ignoreDependency(alwaysTrue(), belongToAnyOf(VOCABULARY))
        .check(house);
  }

  /** A slice for each package, the module's root included. */
  private static SliceAssignment packagesOf(Module module) {
    return new SliceAssignment() {
      @Override
      public SliceIdentifier getIdentifierOf(JavaClass found) {
        return resideInAPackage(module.packages()).test(found)
            ? SliceIdentifier.of(found.getPackageName())
            : SliceIdentifier.ignore();
      }

      @Override
      public String getDescription() {
        return "packages of " + module.root;
      }
    };
  }

  /** Who trains networks of Deeplearning4j brings it; nobody else needs it. */
  @Test
  void deeplearning4jIsKnownToItsOwnModuleOnly() {
    noClasses()
        .that()
        .resideOutsideOfPackage(Module.DEEPLEARNING4J.packages())
        .should()
        .dependOnClassesThat()
        .resideInAPackage("org.deeplearning4j..")
        .check(house);
  }

  @Test
  void nothingStaticCanChange() {
    fields()
        .that()
        .areDeclaredInClassesThat(resideInAPackage(HOUSE).and(not(resideInAPackage(GENERATED))))
        .and()
        .areStatic()
        .and()
        .doNotHaveModifier(JavaModifier.SYNTHETIC)
        .should()
        .beFinal()
        .because("many ranks share one JVM")
        .check(house);
  }

  @Test
  void nothingReadsSerializedObjects() {
    noClasses()
        .should()
        .dependOnClassesThat()
        .areAssignableTo(ObjectInputStream.class)
        .check(house);
  }

  @ParameterizedTest
  @ValueSource(classes = {System.class, Runtime.class})
  void theLauncherAloneEndsTheProcess(Class<?> owner) {
    noClasses()
        .that()
        .resideOutsideOfPackage(Module.LAUNCHER.packages())
        .should()
        .callMethod(owner, "exit", int.class)
        .check(house);
  }

  @Test
  void theLauncherAloneHaltsTheProcess() {
    noClasses()
        .that()
        .resideOutsideOfPackage(Module.LAUNCHER.packages())
        .should()
        .callMethod(Runtime.class, "halt", int.class)
        .check(house);
  }
}
