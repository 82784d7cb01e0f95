package dev.phalanx.integration;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;

/**
 * Two pretended hosts and the switch that joins them, each a process with a network, a /dev/shm and
 * a name of its own. Host h has the address {@code 198.18.0.(h + 1)}, of the range that RFC 2544
 * keeps for tests. Nothing is added to this machine's network; only root may have it.
 */
final class TwoHosts implements AutoCloseable {
  private static final int HOSTS = 2;
  private static final long COMMAND_SECONDS = 20;

  /** Ends by itself where the test is killed. */
  private static final String HOLD =
      "mount -t tmpfs tmpfs /dev/shm && echo ready && exec sleep 600";

  private final List<Process> holders = new ArrayList<>(); // the hosts', then the switch's

  TwoHosts() throws IOException, InterruptedException {
    try {
      for (int i = 0; i <= HOSTS; i++) {
        holders.add(hold());
      }
      on(HOSTS, "ip link add br0 type bridge");
      on(HOSTS, "ip link set br0 up");
      for (int host = 0; host < HOSTS; host++) {
        String port = "port" + host;
        on(host, "hostname host" + host);
        on(host, "ip link set lo up");
        on(host, "ip link add eth0 type veth peer name " + port + " netns " + pid(HOSTS));
        on(host, "ip address add " + address(host) + "/24 dev eth0");
        on(host, "ip link set eth0 up");
        on(HOSTS, "ip link set " + port + " master br0 up");
      }
    } catch (IOException | InterruptedException | RuntimeException e) {
      close();
      throw e;
    }
  }

  /** Whether this machine and this user can have it. */
  static boolean arePossible() throws InterruptedException {
    try (TwoHosts hosts = new TwoHosts()) {
      return hosts.holders.size() > HOSTS;
    } catch (IOException e) {
      return false;
    }
  }

  private static Process hold() throws IOException {
    Process holder =
        new ProcessBuilder("unshare", "--net", "--mount", "--uts", "sh", "-c", HOLD)
            .redirectErrorStream(true)
            .start();
    BufferedReader output =
        new BufferedReader(new InputStreamReader(holder.getInputStream(), StandardCharsets.UTF_8));
    String line = output.readLine();
    if (!"ready".equals(line)) {
      holder.destroyForcibly();
      throw new IOException("no host can be pretended here: " + line);
    }
    return holder;
  }

  static String address(int host) {
    return "198.18.0." + (host + 1);
  }

  private long pid(int holder) {
    return holders.get(holder).pid();
  }

  /** What runs a command on a host, in a folder. */
  List<String> runner(int host, Path folder) {
    return List.of(
        "nsenter",
        "--target",
        Long.toString(pid(host)),
        "--net",
        "--mount",
        "--uts",
        "--wd=" + folder,
        "--");
  }

  private void on(int holder, String command) throws IOException, InterruptedException {
    List<String> whole = new ArrayList<>(runner(holder, Path.of("/")));
    whole.addAll(List.of(command.split(" ")));
    Process process = new ProcessBuilder(whole).redirectErrorStream(true).start();
    if (!process.waitFor(COMMAND_SECONDS, TimeUnit.SECONDS) || process.exitValue() != 0) {
      process.destroyForcibly();
      throw new IOException(
          command
              + ": "
              + new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8));
    }
  }

  /** The switch forgets a host, whose own end notices nothing: from here on packets vanish. */
  void part(int host) throws IOException, InterruptedException {
    on(HOSTS, "ip link set port" + host + " nomaster");
  }

  /** The networks go with the last process in them. */
  @Override
  public void close() {
    holders.forEach(Process::destroyForcibly);
  }
}
