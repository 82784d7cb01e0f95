package dev.phalanx.launcher.terminal;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

final class QuantitiesTest {
  @ParameterizedTest
  @CsvSource({
    "0, 0:00",
    "0.4, 0:00",
    "42, 0:42",
    "59.6, 1:00",
    "725, 12:05",
    "3599.4, 59:59",
    "3723, 1:02:03",
    "360000, 100:00:00",
    "-1, 0:00",
    "NaN, 0:00"
  })
  void durationsReadAsOnAClock(double seconds, String text) {
    assertThat(Quantities.duration(seconds)).isEqualTo(text);
  }

  @ParameterizedTest
  @CsvSource({
    "0, 0",
    "987, 987",
    "999.4, 999",
    "999.6, 1.0k",
    "12300, 12.3k",
    "999949, 999.9k",
    "999951, 1.00M",
    "4560000, 4.56M",
    "999996000, 1.00B",
    "7e9, 7.00B"
  })
  void countsHaveThreeOrFourDigitsAndAUnit(double number, String text) {
    assertThat(Quantities.count(number)).isEqualTo(text);
  }

  @ParameterizedTest
  @CsvSource({
    "0, 0 B",
    "1023, 1023 B",
    "4096, 4 KiB",
    "1048063, 1023 KiB",
    "1048064, 1 MiB",
    "536870912, 512 MiB",
    "1073741823, 1.0 GiB",
    "1073741824, 1.0 GiB",
    "2684354560, 2.5 GiB"
  })
  void bytesAreBinaryUnits(long bytes, String text) {
    assertThat(Quantities.bytes(bytes)).isEqualTo(text);
  }

  @Test
  void aLossHasFourDecimals() {
    assertThat(Quantities.loss(2.31449)).isEqualTo("2.3145");
    assertThat(Quantities.loss(Double.NaN)).isEqualTo("NaN");
  }
}
