package dev.phalanx.checkpoint.safetensors;

import dev.phalanx.tensor.DType;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/** The element types of the format. Those without a type of ours can be listed but not read. */
enum StoredType {
  F64(8, DType.FLOAT64),
  F32(4, DType.FLOAT32),
  F16(2, DType.FLOAT16),
  BF16(2, DType.BFLOAT16),
  I64(8, DType.INT64),
  I32(4, DType.INT32),
  U8(1, DType.UINT8),
  I16(2, null),
  I8(1, null),
  U64(8, null),
  U32(4, null),
  U16(2, null),
  BOOL(1, null),
  F8_E4M3(1, null),
  F8_E5M2(1, null),
  F8_E8M0(1, null),
  C64(8, null);

  private final int byteSize;
  private final @Nullable DType dtype;

  StoredType(int byteSize, @Nullable DType dtype) {
    this.byteSize = byteSize;
    this.dtype = dtype;
  }

  int byteSize() {
    return byteSize;
  }

  Optional<DType> dtype() {
    return Optional.ofNullable(dtype);
  }

  static Optional<StoredType> of(String name) {
    for (StoredType type : values()) {
      if (type.name().equals(name)) {
        return Optional.of(type);
      }
    }
    return Optional.empty();
  }

  static StoredType of(DType dtype) {
    for (StoredType type : values()) {
      if (type.dtype == dtype) {
        return type;
      }
    }
    throw new IllegalArgumentException("The safetensors format has no type for " + dtype);
  }
}
