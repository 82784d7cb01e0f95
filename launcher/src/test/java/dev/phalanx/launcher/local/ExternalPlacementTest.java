package dev.phalanx.launcher.local;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.phalanx.collectives.security.Encryption;
import dev.phalanx.launcher.CommandException;
import dev.phalanx.launcher.ExitStatus;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import org.assertj.core.api.AbstractThrowableAssert;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

final class ExternalPlacementTest {
  private static final String TOKEN = "5ec3e7".repeat(10) + "5ec3";

  @TempDir private Path folder = Path.of("");
  private Path tokenFile = Path.of("");

  private final Map<String, String> environment =
      new TreeMap<>(
          Map.of(
              "RANK", "3",
              "WORLD_SIZE", "8",
              "LOCAL_RANK", "1",
              "LOCAL_WORLD_SIZE", "2",
              "MASTER_ADDR", "127.0.0.1",
              "MASTER_PORT", "29500"));

  @BeforeEach
  void writeToken() throws IOException {
    tokenFile = folder.resolve("job.token");
    Files.writeString(tokenFile, TOKEN + "\n");
    open("rw-------");
  }

  private void open(String permissions) throws IOException {
    Files.setPosixFilePermissions(tokenFile, PosixFilePermissions.fromString(permissions));
  }

  private Placement placement() throws IOException {
    return ExternalPlacement.of(environment, tokenFile, Encryption.NONE, Optional.empty());
  }

  private AbstractThrowableAssert<?, ? extends Throwable> assertRefused() {
    return assertThatThrownBy(this::placement)
        .isInstanceOfSatisfying(
            CommandException.class,
            refused -> assertThat(refused.status()).isEqualTo(ExitStatus.USAGE));
  }

  @Test
  void theEnvironmentTellsWhichRankAndWhereTheOthersAre() throws IOException {
    Placement placement = placement();

    assertThat(placement.worldSize()).isEqualTo(8);
    assertThat(placement.workers()).containsExactly(List.of(3));
    assertThat(placement.localRank(3)).isEqualTo(1);
    assertThat(placement.localWorldSize()).isEqualTo(2);
    assertThat(placement.rendezvous()).isEqualTo(new InetSocketAddress("127.0.0.1", 29500));
    assertThat(placement.isRendezvousHere()).isFalse();
    assertThat(placement.hasRankZero()).isFalse();
    assertThat(placement.token().hex()).isEqualTo(TOKEN);
    assertThat(placement.toString()).doesNotContain(TOKEN);
  }

  @Test
  void eachAttemptHasATokenOfItsOwn() throws IOException {
    String first = placement().token().hex();
    environment.put("SLURM_RESTART_COUNT", "0");
    assertThat(placement().token().hex()).isEqualTo(first);
    environment.put("SLURM_RESTART_COUNT", "2");
    String third = placement().token().hex();
    environment.put("PHALANX_ATTEMPT", "2");
    environment.put("SLURM_RESTART_COUNT", "1");
    assertThat(placement().token().hex()).isEqualTo(third).isNotEqualTo(first);
    environment.put("PHALANX_ATTEMPT", "again");
    assertRefused().hasMessageContaining("PHALANX_ATTEMPT is 'again'");
  }

  @Test
  void rankZeroHasTheRendezvous() throws IOException {
    environment.put("RANK", "0");
    environment.put("LOCAL_RANK", "0");

    assertThat(placement().isRendezvousHere()).isTrue();
    assertThat(placement().hasRankZero()).isTrue();
  }

  @Test
  void aRankIsAloneOnItsHostUnlessToldOtherwise() throws IOException {
    environment.remove("LOCAL_RANK");
    environment.remove("LOCAL_WORLD_SIZE");

    assertThat(placement().localRank(3)).isZero();
    assertThat(placement().localWorldSize()).isEqualTo(1);
  }

  @Test
  void ranksAreReachedWhereThisHostSpeaksToTheMaster() throws IOException {
    assertThat(placement().address().getHostAddress()).isEqualTo("127.0.0.1");
  }

  @Test
  void ranksAreReachedWhereTheUserSays() throws IOException {
    Placement placement =
        ExternalPlacement.of(environment, tokenFile, Encryption.NONE, Optional.of("127.0.0.2"));

    assertThat(placement.address().getHostAddress()).isEqualTo("127.0.0.2");
  }

  @Test
  void allThatIsMissingIsNamedAtOnce() {
    environment.remove("RANK");
    environment.put("MASTER_ADDR", " ");

    assertRefused().hasMessageEndingWith("there is no RANK, no MASTER_ADDR");
  }

  @ParameterizedTest
  @CsvSource({
    "RANK, 8, 0 to 7",
    "RANK, -1, 0 to 7",
    "RANK, one, 0 to 7",
    "WORLD_SIZE, 0, from 1",
    "WORLD_SIZE, 99999999999, from 1",
    "LOCAL_RANK, 8, 0 to 7",
    "LOCAL_WORLD_SIZE, 1, 2 to 8",
    "MASTER_PORT, 0, 1 to 65535",
    "MASTER_PORT, 65536, 1 to 65535"
  })
  void aNumberThatCannotBeIsRefused(String name, String value, String range) {
    environment.put(name, value);

    assertRefused()
        .hasMessageStartingWith(name + " is '" + value + "'")
        .hasMessageContaining(range);
  }

  @ParameterizedTest
  @ValueSource(strings = {"0.0.0.0", "::", "no-such-host.invalid"})
  void aMasterThatIsNoOneAddressIsRefused(String host) {
    environment.put("MASTER_ADDR", host);

    assertRefused().hasMessageStartingWith("MASTER_ADDR is '" + host + "'");
  }

  /** 192.0.2.0/24 is for documentation: no host has one of its addresses. */
  @Test
  void rankZeroRunsOnTheMasterAlone() {
    environment.put("RANK", "0");
    environment.put("MASTER_ADDR", "192.0.2.1");

    assertRefused().hasMessageStartingWith("MASTER_ADDR is 192.0.2.1, which is no address of this");
  }

  @ParameterizedTest
  @ValueSource(strings = {"192.0.2.1", "0.0.0.0"})
  void anAddressThatIsNotOneOfThisHostIsRefused(String address) {
    assertThatThrownBy(
            () ->
                ExternalPlacement.of(environment, tokenFile, Encryption.NONE, Optional.of(address)))
        .isInstanceOf(CommandException.class)
        .hasMessageStartingWith("--address is ")
        .hasMessageContaining(address);
  }

  @ParameterizedTest
  @ValueSource(strings = {"rw-r--r--", "rw----r--", "rw-r-----", "rw--w----"})
  void aTokenFileThatIsOpenToOthersIsRefused(String permissions) throws IOException {
    open(permissions);

    assertRefused()
        .hasMessageContaining(permissions)
        .hasMessageEndingWith("run chmod 600 " + tokenFile);
  }

  @ParameterizedTest
  @ValueSource(strings = {"", "5ec3e7", "not a token", "5ec3e7\n5ec3e7"})
  void aFileWithoutATokenIsRefusedAndNotShown(String content) throws IOException {
    Files.writeString(tokenFile, content);

    assertRefused().hasMessageContaining("64 hexadecimal digits").hasMessageNotContaining("5ec3");
  }

  @Test
  void aLargeFileIsNotRead() throws IOException {
    Files.writeString(tokenFile, TOKEN + " ".repeat(1000));

    assertRefused().hasMessageContaining("64 hexadecimal digits");
  }
}
