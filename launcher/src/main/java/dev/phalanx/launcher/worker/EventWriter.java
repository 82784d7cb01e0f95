package dev.phalanx.launcher.worker;

import dev.phalanx.launcher.event.EventCodec;
import dev.phalanx.launcher.event.WorkerEvent;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;

/**
 * Writes events to the launcher, each in one piece. Any thread. A launcher that is gone is noticed
 * by the control channel, so a broken pipe is no error here.
 */
final class EventWriter {
  private final OutputStream output;

  EventWriter(OutputStream output) {
    this.output = output;
  }

  void write(WorkerEvent event) {
    byte[] line =
        (EventCodec.RECORD_SEPARATOR + EventCodec.encode(event) + "\n")
            .getBytes(StandardCharsets.UTF_8);
    synchronized (output) { // ranks of one JVM and the handler of uncaught exceptions write
      try {
        output.write(line);
        output.flush();
      } catch (IOException e) {
        // The launcher reads no more: the control channel ends this process.
      }
    }
  }
}
