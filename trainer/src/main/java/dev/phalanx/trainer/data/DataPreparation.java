package dev.phalanx.trainer.data;

import dev.phalanx.trainer.tokenizer.MalformedTextException;
import dev.phalanx.trainer.tokenizer.Tokenizer;
import java.io.FilterInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.InterruptedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.DigestInputStream;
import java.security.MessageDigest;
import java.util.List;
import java.util.OptionalInt;

/** Makes a token file of text files: the work behind {@code phalanx data prepare}. */
public final class DataPreparation {
  private final Request request;
  private final Progress progress;
  private long bytesDone;
  private long bytesTotal;

  private DataPreparation(Request request, Progress progress) {
    this.request = request;
    this.progress = progress;
  }

  /**
   * What to do.
   *
   * @param inputs text files, each a document, in order; UTF-8 unless the tokenizer is {@code
   *     bytes}
   * @param output the token file; an older token file of this name is replaced
   * @param endOfText whether the tokenizer's end-of-text token follows each document
   */
  public record Request(List<Path> inputs, Tokenizer tokenizer, Path output, boolean endOfText) {
    public Request {
      inputs = List.copyOf(inputs);
    }
  }

  /**
   * What was done.
   *
   * @param bytes of the inputs
   * @param maximumToken the largest token
   * @param seconds wall time
   */
  public record Result(
      Path output,
      long documents,
      long bytes,
      long tokens,
      long vocabularySize,
      long maximumToken,
      double seconds) {}

  /** Hears how far the work is, on the thread that does it, after each piece of text. */
  @FunctionalInterface
  public interface Progress {
    /** Hears nothing. */
    Progress NONE = (bytesDone, bytesTotal, tokens) -> {};

    /**
     * @param bytesDone bytes of the inputs that have been read
     * @param bytesTotal bytes of all inputs
     * @param tokens tokens that have been written
     */
    void advanced(long bytesDone, long bytesTotal, long tokens);
  }

  /**
   * Encodes the inputs. An interrupt or an error leaves no output behind.
   *
   * @throws DataException if an input cannot be read or is not UTF-8, if there is no text at all,
   *     if the output cannot be written or would replace something that is no token file, if the
   *     tokenizer has no end-of-text token and one is asked for, or on an interrupt
   */
  public static Result run(Request request, Progress progress) {
    return new DataPreparation(request, progress).run();
  }

  private Result run() {
    long startNanos = System.nanoTime();
    check();
    try (TokenFileWriter writer =
        new TokenFileWriter(
            request.output, request.tokenizer.name(), request.tokenizer.vocabularySize())) {
      SourceDigest digest = new SourceDigest();
      for (Path input : request.inputs) {
        digest.add(encode(input, writer));
      }
      if (bytesDone == 0) {
        throw DataException.plan(
            "the inputs hold no text: " + request.inputs + "; name other files");
      }
      writer.publish(request.inputs.size(), request.endOfText, digest.value());
      return new Result(
          request.output,
          request.inputs.size(),
          bytesDone,
          writer.count(),
          request.tokenizer.vocabularySize(),
          writer.maximumToken(),
          (System.nanoTime() - startNanos) / 1e9);
    } catch (IOException e) {
      throw DataException.inputOutput(
          request.output
              + " cannot be written: "
              + e
              + "; nothing is left of it; check the folder, its permissions and the free space",
          e);
    }
  }

  private void check() {
    if (request.inputs.isEmpty()) {
      throw DataException.plan("no input is named; name at least one text file");
    }
    if (request.endOfText && request.tokenizer.endOfText().isEmpty()) {
      throw DataException.plan(
          "the tokenizer "
              + request.tokenizer.name()
              + " has no end-of-text token; leave the option out or choose another tokenizer");
    }
    try {
      for (Path input : request.inputs) {
        InputFiles.requireReadable(input, "the input");
        bytesTotal += Files.size(input);
      }
      if (Files.exists(request.output)
          && !(Files.isRegularFile(request.output) && TokenFile.isTokenFile(request.output))) {
        throw DataException.plan(
            request.output
                + " exists and is no token file, so it is not replaced; name another output or"
                + " remove it");
      }
    } catch (IOException e) {
      throw DataException.inputOutput("the inputs or the output cannot be read: " + e, e);
    }
  }

  private MessageDigest encode(Path input, TokenFileWriter writer) throws IOException {
    MessageDigest digest = SourceDigest.sha256();
    InputStream opened;
    try {
      opened = Files.newInputStream(input);
    } catch (IOException e) {
      throw DataException.inputOutput(input + " cannot be read: " + e, e);
    }
    try (InputStream text = new DigestInputStream(new Reading(opened, input), digest)) {
      request.tokenizer.encode(
          text,
          (tokens, count) -> {
            writer.accept(tokens, count);
            progress.advanced(bytesDone, bytesTotal, writer.count());
          });
    } catch (MalformedTextException e) {
      throw DataException.inputOutput(input + " is not UTF-8: " + e.getMessage(), e);
    }
    OptionalInt endOfText = request.tokenizer.endOfText();
    if (request.endOfText && endOfText.isPresent()) {
      writer.accept(new int[] {endOfText.getAsInt()}, 1);
    }
    return digest;
  }

  /**
   * Counts what is read, notices an interrupt, and tells errors of reading from errors of writing.
   */
  private final class Reading extends FilterInputStream {
    private final Path input;

    Reading(InputStream in, Path input) {
      super(in);
      this.input = input;
    }

    @Override
    public int read() throws IOException {
      byte[] one = new byte[1];
      return read(one, 0, 1) < 0 ? -1 : one[0] & 0xFF;
    }

    @Override
    public int read(byte[] bytes, int offset, int length) throws IOException {
      if (Thread.currentThread().isInterrupted()) {
        throw new InterruptedIOException("interrupted after " + bytesDone + " bytes");
      }
      try {
        int read = super.read(bytes, offset, length);
        bytesDone += Math.max(0, read);
        return read;
      } catch (IOException e) {
        throw DataException.inputOutput(input + " cannot be read: " + e, e);
      }
    }
  }
}
