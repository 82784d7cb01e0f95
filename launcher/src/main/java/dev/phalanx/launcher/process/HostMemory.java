package dev.phalanx.launcher.process;

import com.sun.management.OperatingSystemMXBean;
import java.lang.management.ManagementFactory;

/** The memory that the processes of this host, or of this container, share. */
public final class HostMemory {
  private HostMemory() {}

  /** All of it, whoever has it now. */
  public static long bytes() {
    return ManagementFactory.getPlatformMXBean(OperatingSystemMXBean.class).getTotalMemorySize();
  }
}
