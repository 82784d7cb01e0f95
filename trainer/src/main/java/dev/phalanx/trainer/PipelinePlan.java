package dev.phalanx.trainer;

import dev.phalanx.parallelism.expert.Mixture;
import dev.phalanx.parallelism.pipeline.Action;
import dev.phalanx.parallelism.pipeline.OneForwardOneBackward;
import dev.phalanx.parallelism.pipeline.PipelineSchedules;
import dev.phalanx.parallelism.pipeline.ScheduleException;
import dev.phalanx.parallelism.pipeline.ScheduleSimulator;
import dev.phalanx.parallelism.pipeline.ScheduleTable;
import dev.phalanx.parallelism.pipeline.StageCosts;
import dev.phalanx.parallelism.pipeline.StageCut;
import dev.phalanx.trainer.config.ConfigurationException;
import dev.phalanx.trainer.config.JobConfig;
import dev.phalanx.trainer.config.JobConfigValidator;
import dev.phalanx.trainer.config.ParsedPlan;
import dev.phalanx.trainer.model.StageLayers;
import dev.phalanx.trainer.model.TransformerConfig;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * How a job's model is cut into stages, and in which order ranks compute them. The table is proven
 * to end. Without a pipeline it is one stage, whose micro-batches go forward and backward in turn.
 */
public record PipelinePlan(ScheduleTable table, List<StageLayers> stages) {
  public PipelinePlan {
    stages = List.copyOf(stages);
  }

  /** Of a step on a rank. */
  private static final long MOST_MICRO_BATCHES = 1 << 16;

  /** Of a table, three for each micro-batch of a stage at most. */
  private static final long MOST_ACTIONS = 12_000_000;

  /**
   * @param job a plan that is valid for this number of ranks
   * @param model complete sizes
   * @param baseDirectory what the path of a table starts from
   * @throws ScheduleException where the schedule does not suit the job or never ends
   * @throws IOException where a table cannot be read
   */
  static PipelinePlan of(JobConfig job, TransformerConfig model, Path baseDirectory, int worldSize)
      throws IOException {
    Optional<String> tooMany = tooMany(job, worldSize);
    if (tooMany.isPresent()) {
      throw new ScheduleException(tooMany.get());
    }
    int microBatches = Math.toIntExact(job.microBatchesPerStep(worldSize));
    ScheduleTable table = table(job.parallel(), baseDirectory, microBatches);
    ScheduleSimulator.requireNoDeadlock(table);
    int ranks = job.parallel().pipeline();
    if (table.ranks().size() != ranks || table.microBatches() != microBatches) {
      throw new ScheduleException(
          "the schedule "
              + job.parallel().schedule()
              + " is for "
              + table.ranks().size()
              + " ranks and "
              + table.microBatches()
              + " micro-batches, and the plan has pipeline "
              + ranks
              + " and "
              + microBatches
              + " micro-batches (batch.global / batch.micro / data-parallel ranks, rounded up)");
    }
    boolean hasBothEnds = table.rankOf(0) == table.rankOf(table.stages() - 1);
    if (table.stages() > 1 && model.isTied() && hasBothEnds) {
      throw new ScheduleException(
          "the schedule "
              + job.parallel().schedule()
              + " has the first and the last stage on one rank, which would hold a tied embedding"
              + " twice; write model.tied_embeddings: false or another schedule");
    }
    return new PipelinePlan(table, cut(model, table.stages()));
  }

  /** Whoever counts batches in tokens, not in sequences, must not wait for a table of them. */
  private static Optional<String> tooMany(JobConfig job, int worldSize) {
    long microBatches = job.microBatchesPerStep(worldSize);
    double actions =
        3.0 * microBatches * job.parallel().pipeline() * job.parallel().virtualStages();
    return microBatches <= MOST_MICRO_BATCHES && actions <= MOST_ACTIONS
        ? Optional.empty()
        : Optional.of(
            "a step has "
                + microBatches
                + " micro-batches on each rank, and schedules are made for at most "
                + Math.min(MOST_MICRO_BATCHES, (long) (MOST_ACTIONS / actions * microBatches))
                + " of them here. Write a larger batch.micro, more data-parallel ranks, or a"
                + " smaller batch.global: it is in sequences, not in tokens");
  }

  /**
   * {@link #of} for a plan that a user has written.
   *
   * @param model with the sizes that files give
   * @throws ConfigurationException where these sizes do not fit the ranks, or the schedule does not
   *     suit the job or never ends
   * @throws IOException where a table cannot be read
   */
  static PipelinePlan checked(ParsedPlan plan, ModelSetup model, Path baseDirectory, int worldSize)
      throws IOException {
    JobConfig complete = plan.config().withModel(model.resolved(plan.config().transformer()));
    JobConfigValidator.validate(new ParsedPlan(complete, plan.positions()), worldSize);
    Optional<String> tooMany = tooMany(complete, worldSize);
    if (tooMany.isPresent()) {
      throw ConfigurationException.at(plan.positions(), "batch.global", tooMany.get());
    }
    try {
      return of(complete, model.config(), baseDirectory, worldSize);
    } catch (ScheduleException e) {
      throw ConfigurationException.at(
          plan.positions(), "parallel.schedule", String.valueOf(e.getMessage()));
    }
  }

  private static ScheduleTable table(
      JobConfig.Parallel parallel, Path baseDirectory, int microBatches) throws IOException {
    String schedule = parallel.schedule();
    if (parallel.pipeline() == 1) {
      return new OneForwardOneBackward().table(1, microBatches);
    }
    if (PipelineSchedules.NAMES.contains(schedule)) {
      return PipelineSchedules.named(schedule, parallel.virtualStages())
          .table(parallel.pipeline(), microBatches);
    }
    try {
      return ScheduleTable.parse(tableText(parallel, baseDirectory).orElseThrow());
    } catch (ScheduleException e) {
      throw new ScheduleException(schedule + ": " + e.getMessage());
    }
  }

  /**
   * The table of a plan that names a file; empty where there is no pipeline, or its schedule has a
   * name.
   *
   * @throws ScheduleException where there is no such file, or none that could be a table
   * @throws IOException where it cannot be read
   */
  public static Optional<String> tableText(JobConfig.Parallel parallel, Path baseDirectory)
      throws IOException {
    if (parallel.pipeline() == 1 || PipelineSchedules.NAMES.contains(parallel.schedule())) {
      return Optional.empty();
    }
    return Optional.of(ScheduleTable.text(baseDirectory.resolve(parallel.schedule())));
  }

  /** The work before the first layer and after the last one, in layers. */
  private record Ends(double embedding, double head) {
    static Ends of(TransformerConfig model) {
      double layer = layerWork(model);
      double table = (double) model.vocabulary() * model.hidden();
      double embedding = model.hidden(); // rows are copied, and their gradients added up
      return new Ends(embedding / layer, table / layer);
    }
  }

  private static List<StageLayers> cut(TransformerConfig model, int stages) {
    Ends ends = Ends.of(model);
    int[] counts = StageCut.counts(model.layers(), stages, ends.embedding(), ends.head());
    List<StageLayers> cut = new ArrayList<>();
    int first = 0;
    for (int stage = 0; stage < stages; stage++) {
      cut.add(new StageLayers(first, first + counts[stage], stage == 0, stage == stages - 1));
      first += counts[stage];
    }
    return cut;
  }

  /** Multiplications for one token: of the matrices, and of causal attention. */
  private static double layerWork(TransformerConfig model) {
    double projections =
        (double) (2 * model.heads() + 2 * model.keyValueHeads()) * model.headSize();
    double feedForward =
        (model.isGated() ? 3.0 : 2.0)
            * model.feedForward()
            * model.mixture().map(Mixture::perToken).orElse(1);
    return model.hidden() * (projections + feedForward + model.sequence());
  }

  /** Of a pass through each stage, of which a layer's is 1, forward and each half of backward. */
  StageCosts costs(TransformerConfig model) {
    Ends ends = Ends.of(model);
    return new StageCosts() {
      @Override
      public double of(Action action) {
        StageLayers stage = stages.get(action.stage());
        double work =
            stage.count()
                + (stage.isFirst() ? ends.embedding() : 0)
                + (stage.isLast() ? ends.head() : 0);
        return StageCosts.uniform(work, work, work, hop()).of(action);
      }

      @Override
      public double hop() {
        return 0;
      }
    };
  }

  /** The stages of a rank, by its place in the pipeline. */
  List<Integer> stagesOf(int rank) {
    return table.stagesOf(rank);
  }

  /** The numbers of a rank's layers. */
  List<Integer> layersOf(int rank) {
    List<Integer> layers = new ArrayList<>();
    for (int stage : stagesOf(rank)) {
      for (int layer = stages.get(stage).first(); layer < stages.get(stage).end(); layer++) {
        layers.add(layer);
      }
    }
    return layers;
  }
}
