package dev.phalanx.tensor;

import java.lang.annotation.ElementType;
import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;
import java.lang.annotation.Target;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.extension.ConditionEvaluationResult;
import org.junit.jupiter.api.extension.ExecutionCondition;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.extension.ExtensionContext;
import org.junit.platform.commons.support.AnnotationSupport;

/**
 * On a parameterised test that takes long: of its cases one in so many runs, the first one among
 * them, and with the profile {@code long-tests} all do.
 */
@Target(ElementType.METHOD)
@Retention(RetentionPolicy.RUNTIME)
@ExtendWith(Sample.Condition.class)
public @interface Sample {
  int value();

  /** Leaves out the other cases. */
  final class Condition implements ExecutionCondition {
    private static final boolean IS_ALL = Boolean.getBoolean("phalanx.long-tests");
    private static final Pattern CASE = Pattern.compile("\\[test-template-invocation:#(\\d+)]$");

    @Override
    public ConditionEvaluationResult evaluateExecutionCondition(ExtensionContext context) {
      int every =
          AnnotationSupport.findAnnotation(context.getElement(), Sample.class)
              .orElseThrow()
              .value();
      Matcher matcher = CASE.matcher(context.getUniqueId());
      return IS_ALL || !matcher.find() || (Integer.parseInt(matcher.group(1)) - 1) % every == 0
          ? ConditionEvaluationResult.enabled("in the sample")
          : ConditionEvaluationResult.disabled(
              "one of " + every + " cases runs; with -Plong-tests all do");
    }
  }
}
