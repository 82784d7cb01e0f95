package dev.phalanx.sharding;

import static java.nio.charset.StandardCharsets.UTF_8;

import dev.phalanx.tensor.Shape;
import dev.phalanx.tensor.Tensor;
import dev.phalanx.tensor.autograd.Parameter;
import dev.phalanx.tensor.autograd.Partition;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import java.util.zip.CRC32C;

/**
 * Which elements of a model which rank holds. Flat memory is cut into buckets of whole parameters;
 * each is padded to a multiple of the ranks and divided evenly, so that any number of elements
 * suits any number of ranks. Padding is at most ranks - 1 elements a bucket, at its end.
 *
 * <pre>
 *   flat      | bucket 0       .| bucket 1            ..|   (. padding)
 *   rank 0    | part |            | part   |
 *   rank 1           | part     .|          | part    ..|
 * </pre>
 */
final class ShardLayout {
  /**
   * @param modelPart whose parameters these are, see {@link ModelMemory}
   * @param offset of the first element in padded flat memory
   * @param count of elements without padding
   * @param paddedCount a multiple of the ranks
   */
  record Bucket(
      int index,
      int modelPart,
      List<Parameter> parameters,
      long offset,
      long count,
      long paddedCount) {}

  /** The parameters of a bucket that is to be, and the part of the model that they belong to. */
  record Cut(int modelPart, List<Parameter> parameters) {}

  /** Where a parameter begins in its bucket. */
  private record Place(Bucket bucket, long offset) {}

  private static final long FIRST_BUCKET_BYTES = 1L << 20;
  private static final int BUCKET_GROWTH = 4;
  private static final int LEAST_BUCKETS = 10;

  private final int shards;
  private final List<Bucket> buckets = new ArrayList<>();
  private final List<Parameter> parameters = new ArrayList<>();
  private final Map<Parameter, Place> places = new IdentityHashMap<>();
  private final long elementCount;
  private final long paddedCount;

  /**
   * @param cuts each bucket's parameters; all of them in the order of flat memory
   * @param shards ranks that divide each bucket
   */
  ShardLayout(List<Cut> cuts, int shards) {
    this.shards = shards;
    long offset = 0;
    long elements = 0;
    for (Cut cut : cuts) {
      List<Parameter> inBucket = cut.parameters();
      long count = elementCount(inBucket);
      long padded = Math.multiplyExact((count + shards - 1) / shards, shards);
      Bucket bucket =
          new Bucket(buckets.size(), cut.modelPart(), List.copyOf(inBucket), offset, count, padded);
      buckets.add(bucket);
      long start = 0;
      for (Parameter parameter : inBucket) {
        if (places.put(parameter, new Place(bucket, start)) != null) {
          throw new IllegalArgumentException("Parameter " + parameter + " is given twice");
        }
        parameters.add(parameter);
        start += parameter.shape().elementCount();
      }
      offset += padded;
      elements += count;
    }
    this.elementCount = elements;
    this.paddedCount = offset;
  }

  /** Buckets of a model that is one part. */
  static ShardLayout ofOnePart(List<List<Parameter>> buckets, int shards) {
    return new ShardLayout(buckets.stream().map(bucket -> new Cut(0, bucket)).toList(), shards);
  }

  /**
   * Cuts parameters into buckets of about so many bytes of gradients.
   *
   * <p>A bucket ends with the parameter that brings it to {@code bucketBytes}, or to a tenth of all
   * where that is less: what a small model has in one bucket could not be sent before the backward
   * pass ends. The first one ends earlier still, so that the network has work as soon as the
   * backward pass has left the last layers (Li et al., 2020, "PyTorch Distributed", 4.2), and those
   * that follow grow from it, for else the network would be through with it long before the next
   * one. None is cut below a mebibyte for these reasons. A parameter that lies apart has its own.
   *
   * @param parameters in the order of flat memory
   */
  static List<List<Parameter>> cut(List<Parameter> parameters, long bucketBytes) {
    long part = elementCount(parameters) * Float.BYTES / LEAST_BUCKETS;
    long most = Math.min(bucketBytes, Math.max(part, FIRST_BUCKET_BYTES));
    List<List<Parameter>> cut = new ArrayList<>();
    List<Parameter> open = new ArrayList<>();
    long capacity = Math.min(most, FIRST_BUCKET_BYTES);
    for (Parameter parameter : parameters) {
      if (parameter.partition().isApart() && !open.isEmpty()) {
        cut.add(List.copyOf(open));
        open.clear();
      }
      open.add(parameter);
      if (parameter.partition().isApart() || elementCount(open) * Float.BYTES >= capacity) {
        cut.add(List.copyOf(open));
        open.clear();
        capacity = Math.min(most, capacity * BUCKET_GROWTH);
      }
    }
    if (!open.isEmpty()) {
      cut.add(List.copyOf(open));
    }
    return cut;
  }

  /** Elements of these parameters together. */
  static long elementCount(List<Parameter> parameters) {
    return parameters.stream().mapToLong(parameter -> parameter.shape().elementCount()).sum();
  }

  int shards() {
    return shards;
  }

  /** The same buckets, of which one rank holds everything. */
  ShardLayout undivided() {
    return new ShardLayout(
        buckets.stream().map(bucket -> new Cut(bucket.modelPart(), bucket.parameters())).toList(),
        1);
  }

  List<Bucket> buckets() {
    return buckets;
  }

  /** In the order of flat memory. */
  List<Parameter> parameters() {
    return parameters;
  }

  /** Elements of the model. */
  long elementCount() {
    return elementCount;
  }

  /** Elements of flat memory. */
  long paddedCount() {
    return paddedCount;
  }

  /** Elements of all parts of one rank, padding among them. */
  long partCount() {
    return paddedCount / shards;
  }

  Bucket bucketOf(Parameter parameter) {
    return place(parameter).bucket();
  }

  private Place place(Parameter parameter) {
    Place place = places.get(parameter);
    if (place == null) {
      throw new IllegalArgumentException("Parameter " + parameter + " is not one of this model");
    }
    return place;
  }

  /** A parameter's slice of its bucket, in the parameter's shape. */
  Tensor slice(Tensor bucket, Parameter parameter) {
    return bucket
        .slice(0, place(parameter).offset(), parameter.shape().elementCount())
        .reshape(parameter.shape().toArray());
  }

  /** A bucket's slice of flat memory, padding among it. */
  Tensor whole(Tensor flat, Bucket bucket) {
    return flat.slice(0, bucket.offset(), bucket.paddedCount());
  }

  /** One rank's part of a bucket, padding among it. */
  Tensor partOfWhole(Tensor whole, Bucket bucket, int rank) {
    long count = bucket.paddedCount() / shards;
    return whole.slice(0, rank * count, count);
  }

  /** A bucket's part in memory that holds the parts of one rank alone. */
  Tensor part(Tensor parts, Bucket bucket) {
    return parts.slice(0, bucket.offset() / shards, bucket.paddedCount() / shards);
  }

  /** What one rank holds of each parameter, in the order of its memory. */
  List<Piece> pieces(int rank) {
    List<Piece> pieces = new ArrayList<>();
    for (Bucket bucket : buckets) {
      long part = bucket.paddedCount() / shards;
      long start = rank * part;
      for (Parameter parameter : bucket.parameters()) {
        long first = place(parameter).offset();
        long from = Math.max(first, start);
        long to = Math.min(first + parameter.shape().elementCount(), start + part);
        if (from < to) {
          pieces.add(
              new Piece(
                  parameter,
                  bucket,
                  from - first,
                  bucket.offset() / shards + from - start,
                  to - from));
        }
      }
    }
    return pieces;
  }

  /** What one rank holds, in runs that are alike, in the order of its memory without padding. */
  List<HeldRun> heldRuns(int rank) {
    List<HeldRun> runs = new ArrayList<>();
    for (Piece piece : pieces(rank)) {
      long start = piece.parameterOffset();
      for (Partition.Run run : piece.parameter().partition().runs()) {
        long from = Math.max(run.first(), start);
        long to = Math.min(run.first() + run.count(), start + piece.count());
        if (from < to) {
          runs.add(
              new HeldRun(
                  piece.bucket(),
                  piece.partOffset(shards) + from - start,
                  to - from,
                  run.copies()));
        }
      }
    }
    return runs;
  }

  /**
   * CRC-32C of what a rank holds of each bucket: for each piece its bucket's number, the
   * parameter's name and the rows and columns of the whole that the rank has of it, and which
   * elements of those the piece is.
   */
  long checksum(int rank) {
    CRC32C checksum = new CRC32C();
    for (Piece piece : pieces(rank)) {
      update(checksum, piece.bucket().index());
      checksum.update(piece.parameter().name().getBytes(UTF_8));
      for (Partition.Block block : piece.parameter().partition().blocks()) {
        update(checksum, block.row(), block.rows(), block.column(), block.columns());
      }
      update(checksum, piece.parameterOffset(), piece.count());
    }
    return checksum.getValue();
  }

  private static void update(CRC32C checksum, long... numbers) {
    ByteBuffer bytes = ByteBuffer.allocate(numbers.length * Long.BYTES);
    bytes.asLongBuffer().put(numbers);
    checksum.update(bytes);
  }

  /**
   * The shapes of what a rank holds of each bucket: whole parameters as they are; of a matrix that
   * is cut its whole rows as a matrix, and the ends of the other rows as vectors.
   */
  List<List<Shape>> partShapes(int rank) {
    List<List<Shape>> shapes = new ArrayList<>();
    buckets.forEach(bucket -> shapes.add(new ArrayList<>()));
    for (Piece piece : pieces(rank)) {
      List<Shape> ofBucket = shapes.get(piece.bucket().index());
      Shape whole = piece.parameter().shape();
      if (piece.count() == whole.elementCount()) {
        ofBucket.add(whole);
      } else if (whole.rank() < 2) {
        ofBucket.add(Shape.of(piece.count()));
      } else {
        addRows(piece, whole.elementCount() / whole.size(0), ofBucket);
      }
    }
    return shapes;
  }

  private static void addRows(Piece piece, long columns, List<Shape> shapes) {
    long toNextRow = Math.floorMod(-piece.parameterOffset(), columns);
    long head = Math.min(toNextRow, piece.count());
    long rows = (piece.count() - head) / columns;
    long tail = piece.count() - head - rows * columns;
    if (head > 0) {
      shapes.add(Shape.of(head));
    }
    if (rows > 0) {
      shapes.add(Shape.of(rows, columns));
    }
    if (tail > 0) {
      shapes.add(Shape.of(tail));
    }
  }

  /**
   * A run of one parameter's elements that a rank holds.
   *
   * @param parameterOffset its first element within the parameter
   * @param partsOffset its first element within the memory of the rank's parts
   */
  record Piece(
      Parameter parameter, Bucket bucket, long parameterOffset, long partsOffset, long count) {
    /** Within the bucket's part. */
    long partOffset(int shards) {
      return partsOffset - bucket.offset() / shards;
    }
  }
}
