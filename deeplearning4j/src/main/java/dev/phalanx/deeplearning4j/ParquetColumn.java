package dev.phalanx.deeplearning4j;

import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import org.apache.parquet.column.ColumnDescriptor;
import org.apache.parquet.column.ColumnReader;
import org.apache.parquet.format.ConvertedType;
import org.apache.parquet.format.FieldRepetitionType;
import org.apache.parquet.format.SchemaElement;
import org.apache.parquet.format.Type;
import org.apache.parquet.schema.PrimitiveType;
import org.apache.parquet.schema.PrimitiveType.PrimitiveTypeName;
import org.jspecify.annotations.Nullable;

/**
 * A column of a Parquet file's rows.
 *
 * @param type in words, for messages
 * @param leaf the number of its first leaf in the schema, which is that of its chunk in a row group
 * @param values what its values are; null where they are neither numbers nor text, or nested
 */
record ParquetColumn(String name, String type, int leaf, @Nullable Values values) {

  /** How a column's values are read. */
  record Values(Kind kind, ColumnDescriptor descriptor) {
    boolean areText() {
      return kind == Kind.TEXT;
    }

    /** Whether a row has several. */
    boolean areLists() {
      return descriptor.getMaxRepetitionLevel() > 0;
    }

    double number(ColumnReader reader) {
      return switch (kind) {
        case BOOLEAN -> reader.getBoolean() ? 1 : 0;
        case INT -> reader.getInteger();
        case UNSIGNED_INT -> Integer.toUnsignedLong(reader.getInteger());
        case LONG -> reader.getLong();
        case UNSIGNED_LONG -> Double.parseDouble(Long.toUnsignedString(reader.getLong()));
        case FLOAT -> reader.getFloat();
        case DOUBLE -> reader.getDouble();
        case TEXT -> throw new IllegalStateException("Text is no number");
      };
    }
  }

  /** What the values of a leaf are. */
  enum Kind {
    BOOLEAN(PrimitiveTypeName.BOOLEAN),
    INT(PrimitiveTypeName.INT32),
    UNSIGNED_INT(PrimitiveTypeName.INT32),
    LONG(PrimitiveTypeName.INT64),
    UNSIGNED_LONG(PrimitiveTypeName.INT64),
    FLOAT(PrimitiveTypeName.FLOAT),
    DOUBLE(PrimitiveTypeName.DOUBLE),
    TEXT(PrimitiveTypeName.BINARY);

    private final PrimitiveTypeName stored;

    Kind(PrimitiveTypeName stored) {
      this.stored = stored;
    }

    /** Null where it is none of them. */
    private static @Nullable Kind of(SchemaElement leaf) {
      String meaning = meaning(leaf);
      boolean isUnsigned =
          meaning.startsWith("UINT_")
              || (meaning.equals("INTEGER") && !leaf.getLogicalType().getINTEGER().isIsSigned());
      if (leaf.getType() == Type.BYTE_ARRAY) {
        return List.of("STRING", "UTF8", "ENUM").contains(meaning) ? TEXT : null;
      }
      if (!meaning.isEmpty() && !meaning.startsWith("INT") && !isUnsigned) {
        return null; // a date or a decimal fraction: its number alone says something else
      }
      return switch (leaf.getType()) {
        case BOOLEAN -> BOOLEAN;
        case INT32 -> isUnsigned ? UNSIGNED_INT : INT;
        case INT64 -> isUnsigned ? UNSIGNED_LONG : LONG;
        case FLOAT -> FLOAT;
        case DOUBLE -> DOUBLE;
        default -> null;
      };
    }
  }

  /** What the schema says of a value beside how it is stored; may be empty. */
  private static String meaning(SchemaElement element) {
    if (element.isSetLogicalType() && element.getLogicalType().isSet()) {
      return element.getLogicalType().getSetField().getFieldName();
    }
    return element.isSetConverted_type() ? element.getConverted_type().name() : "";
  }

  /** A value of a column's tree, with the levels that say where it is missing or repeated. */
  private record Leaf(SchemaElement element, List<String> path, int repetition, int definition) {
    private Leaf child(SchemaElement child) {
      List<String> longer = new ArrayList<>(path);
      longer.add(child.getName());
      FieldRepetitionType times = child.getRepetition_type();
      return new Leaf(
          child,
          longer,
          repetition + (times == FieldRepetitionType.REPEATED ? 1 : 0),
          definition + (times == FieldRepetitionType.REQUIRED ? 0 : 1));
    }
  }

  /**
   * The columns of a schema.
   *
   * @param schema depth first, as footers have it
   */
  static List<ParquetColumn> of(List<SchemaElement> schema) {
    Iterator<SchemaElement> elements = schema.iterator();
    Leaf root = new Leaf(elements.next(), List.of(), 0, 0);
    List<ParquetColumn> columns = new ArrayList<>();
    int leaves = 0;
    for (int child = 0; child < root.element().getNum_children(); child++) {
      Leaf top = root.child(elements.next());
      List<Leaf> within = new ArrayList<>();
      addLeaves(top, elements, within);
      columns.add(column(top.element(), within, leaves));
      leaves += within.size();
    }
    return List.copyOf(columns);
  }

  private static void addLeaves(Leaf tree, Iterator<SchemaElement> elements, List<Leaf> found) {
    if (tree.element().getNum_children() == 0) {
      found.add(tree);
    }
    for (int child = 0; child < tree.element().getNum_children(); child++) {
      addLeaves(tree.child(elements.next()), elements, found);
    }
  }

  private static ParquetColumn column(SchemaElement top, List<Leaf> leaves, int first) {
    boolean isList = meaning(top).equals(ConvertedType.LIST.name());
    boolean isGroup = top.getNum_children() > 0;
    if (leaves.size() != 1 || leaves.get(0).repetition() > 1 || (isGroup && !isList)) {
      return new ParquetColumn(top.getName(), "nested", first, null);
    }
    Leaf leaf = leaves.get(0);
    SchemaElement element = leaf.element();
    String meaning = meaning(element);
    String type = element.getType() + (meaning.isEmpty() ? "" : " (" + meaning + ")");
    Kind kind = Kind.of(element);
    if (kind == null) {
      return new ParquetColumn(top.getName(), type, first, null);
    }
    ColumnDescriptor descriptor =
        new ColumnDescriptor(
            leaf.path().toArray(String[]::new),
            new PrimitiveType(
                PrimitiveType.Repetition.valueOf(element.getRepetition_type().name()),
                kind.stored,
                element.getName()),
            leaf.repetition(),
            leaf.definition());
    return new ParquetColumn(top.getName(), type, first, new Values(kind, descriptor));
  }
}
