package dev.phalanx.checkpoint;

import dev.phalanx.checkpoint.safetensors.SafetensorsWriter;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.channels.FileChannel;
import java.nio.file.AtomicMoveNotSupportedException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.UUID;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * Checkpoints in a folder of a local or mounted file system, one directory each:
 *
 * <pre>
 *   step-000200/          complete, for it got this name when all its bytes were on disk
 *   .partial-000400-...   being written, or left by a run that was killed; never read
 *   .old-000200-...       replaced or no longer kept; never read
 *   .lock                 who writes here
 * </pre>
 *
 * <p>One process writes, and claims the folder before; any may read. One thread at a time.
 */
public final class LocalCheckpointStore implements AutoCloseable {
  private static final Pattern NAME = Pattern.compile("step-(\\d{6,18})");
  private static final String PARTIAL = ".partial-";
  private static final String OLD = ".old-";
  private static final Pattern OLD_NAME = Pattern.compile("\\.old-(\\d{6,18})-.+");

  /** Puts a file of tensors on the disk; tests have one that fails. */
  @FunctionalInterface
  interface TensorFileWriter {
    SafetensorsWriter.Written write(
        Path file, Map<String, String> metadata, List<SafetensorsWriter.Entry> entries)
        throws IOException;
  }

  /**
   * Another file of a checkpoint, in a format of its own.
   *
   * @param name a plain one: letters, digits, {@code .}, {@code _} and {@code -}
   */
  public record OtherFile(String name, Content content) {
    /** Writes a file that is not there yet. */
    @FunctionalInterface
    public interface Content {
      void writeTo(Path file) throws IOException;
    }
  }

  private final Path root;
  private final TensorFileWriter tensorFileWriter;
  private @Nullable FolderLock lock;

  /**
   * @param root need not exist yet
   */
  public LocalCheckpointStore(Path root) {
    this(root, SafetensorsWriter::write);
  }

  LocalCheckpointStore(Path root, TensorFileWriter tensorFileWriter) {
    this.root = root;
    this.tensorFileWriter = tensorFileWriter;
  }

  public Path root() {
    return root;
  }

  /**
   * Keeps others from writing here until {@link #close}; nothing happens where it is claimed
   * already. The folder is made.
   *
   * @param holder what others hear of who has it
   * @param longest how long to wait for who has claimed it: a job that was just stopped may still
   *     be going
   * @throws FolderInUseException where somebody has claimed it for longer
   * @throws CheckpointWriteException where nobody can write there
   */
  public void claim(String holder, Duration longest) throws InterruptedException {
    if (lock != null) {
      return;
    }
    try {
      lock = FolderLock.acquire(root, holder, longest);
    } catch (IOException e) {
      throw new CheckpointWriteException(
          "No checkpoints can be written to "
              + root
              + ": "
              + reason(e)
              + ". Check its permissions, or name another checkpoint.dir.",
          e);
    }
  }

  /** Ends the claim. */
  @Override
  public void close() {
    if (lock != null) {
      lock.close();
      lock = null;
    }
  }

  /** The directories of complete checkpoints, the oldest step first. */
  public List<Path> all() throws IOException {
    return steps().stream().filter(LocalCheckpointStore::isWhole).toList();
  }

  /** Complete ones, and what is left of some, the oldest step first. */
  private List<Path> steps() throws IOException {
    return children().stream()
        .filter(path -> step(path) >= 0 && Files.isDirectory(path))
        .sorted(Comparator.comparingLong(LocalCheckpointStore::step))
        .toList();
  }

  private static boolean isWhole(Path directory) {
    return Files.isRegularFile(directory.resolve(CheckpointManifest.FILE));
  }

  /**
   * The complete checkpoint of the latest step.
   *
   * @throws BadCheckpointException where there is nothing but what is left of some
   */
  public Optional<Path> newest() throws IOException {
    List<Path> all = all();
    if (all.isEmpty()) {
      requireNoneDamaged();
      return Optional.empty();
    }
    return Optional.of(all.get(all.size() - 1));
  }

  /**
   * The checkpoint that a user has named.
   *
   * @param path a checkpoint, or a folder whose newest one is taken
   * @throws NoCheckpointException where it is neither
   * @throws BadCheckpointException where there is nothing but what is left of some
   */
  public static Path find(Path path) throws IOException {
    if (isWhole(path)) {
      return path;
    }
    return new LocalCheckpointStore(path)
        .newest()
        .orElseThrow(() -> new NoCheckpointException(path));
  }

  /** Where none is whole: a directory is no checkpoint any more when its manifest is gone. */
  private void requireNoneDamaged() throws IOException {
    Optional<Path> damaged = steps().stream().findFirst();
    if (damaged.isPresent()) {
      throw new BadCheckpointException(
          damaged.get()
              + " has no "
              + CheckpointManifest.FILE
              + ", and no other folder in "
              + root
              + " is whole. Bring it back, or take another folder; a job can start anew without"
              + " --resume.");
    }
  }

  private List<Path> children() throws IOException {
    try (Stream<Path> paths = Files.list(root)) {
      return paths.toList();
    } catch (NoSuchFileException e) {
      return List.of();
    }
  }

  private static long step(Path directory) {
    Matcher matcher = NAME.matcher(directory.getFileName().toString());
    return matcher.matches() ? Long.parseLong(matcher.group(1)) : -1;
  }

  /**
   * Writes a checkpoint beside the others and gives it its name when all of it is on disk. One of
   * the same step is replaced.
   *
   * @param manifest without files
   * @return its directory
   * @throws CheckpointWriteException where it could not be written; nothing of it is left
   * @throws IllegalArgumentException where the tensors are none that a file can hold; nothing is
   *     left either
   */
  public Path save(
      CheckpointManifest manifest,
      List<SafetensorsWriter.Entry> model,
      List<SafetensorsWriter.Entry> optimizer) {
    return save(manifest, model, optimizer, List.of());
  }

  /** {@link #save(CheckpointManifest, List, List)} with other files beside those of tensors. */
  public Path save(
      CheckpointManifest manifest,
      List<SafetensorsWriter.Entry> model,
      List<SafetensorsWriter.Entry> optimizer,
      List<OtherFile> others) {
    String number = String.format(Locale.ROOT, "%06d", manifest.step());
    Path target = root.resolve("step-" + number);
    Path partial = root.resolve(PARTIAL + number + "-" + UUID.randomUUID());
    try {
      Files.createDirectories(partial);
      Map<String, String> metadata = Map.of("format", "phalanx", "step", number);
      List<CheckpointManifest.StoredFile> files = new ArrayList<>();
      files.add(write(partial, SavedCheckpoint.MODEL_FILE, metadata, model));
      files.add(write(partial, SavedCheckpoint.OPTIMIZER_FILE, metadata, optimizer));
      for (OtherFile other : others) {
        files.add(write(partial.resolve(other.name()), other.content()));
      }
      writeDurably(partial.resolve(CheckpointManifest.FILE), manifest.withFiles(files).toJson());
      syncDirectory(partial);
      publish(partial, target, number);
      return target;
    } catch (IOException e) {
      deleteQuietly(partial);
      throw failure(target, model, optimizer, e);
    } catch (RuntimeException e) {
      deleteQuietly(partial);
      throw e;
    }
  }

  private CheckpointManifest.StoredFile write(
      Path directory,
      String name,
      Map<String, String> metadata,
      List<SafetensorsWriter.Entry> entries)
      throws IOException {
    SafetensorsWriter.Written written =
        tensorFileWriter.write(directory.resolve(name), metadata, entries);
    return new CheckpointManifest.StoredFile(name, written.bytes(), written.crc32c());
  }

  private static CheckpointManifest.StoredFile write(Path file, OtherFile.Content content)
      throws IOException {
    content.writeTo(file);
    force(file);
    return new CheckpointManifest.StoredFile(
        file.getFileName().toString(), Files.size(file), SavedCheckpoint.checksum(file));
  }

  private static void writeDurably(Path file, byte[] content) throws IOException {
    Files.write(file, content);
    force(file);
  }

  private static void force(Path file) throws IOException {
    try (FileChannel channel = FileChannel.open(file, StandardOpenOption.WRITE)) {
      channel.force(true);
    }
  }

  private void publish(Path partial, Path target, String number) throws IOException {
    Path replaced = root.resolve(OLD + number + "-" + UUID.randomUUID());
    boolean isReplacing = Files.exists(target);
    if (isReplacing) { // a directory that is not empty cannot be replaced in one step
      move(target, replaced);
    }
    try {
      move(partial, target);
    } catch (IOException e) {
      if (isReplacing) {
        move(replaced, target);
      }
      throw e;
    }
    syncDirectory(root);
    if (isReplacing) {
      deleteQuietly(replaced);
    }
  }

  private static void move(Path from, Path to) throws IOException {
    try {
      Files.move(from, to, StandardCopyOption.ATOMIC_MOVE);
    } catch (AtomicMoveNotSupportedException e) {
      throw new IOException("the file system cannot rename a folder in one step", e);
    }
  }

  /** Makes new names durable; systems that cannot open a directory do it by themselves. */
  private static void syncDirectory(Path directory) {
    try (FileChannel channel = FileChannel.open(directory, StandardOpenOption.READ)) {
      channel.force(true);
    } catch (IOException e) {
      // The files themselves are on disk, and the rename is in order after them.
    }
  }

  private CheckpointWriteException failure(
      Path target,
      List<SafetensorsWriter.Entry> model,
      List<SafetensorsWriter.Entry> optimizer,
      IOException cause) {
    long needed =
        SafetensorsWriter.size(Map.of(), model) + SafetensorsWriter.size(Map.of(), optimizer);
    return new CheckpointWriteException(
        "The checkpoint "
            + target
            + " could not be written: "
            + reason(cause)
            + " ("
            + needed
            + " bytes were needed, "
            + free()
            + " are free). Earlier checkpoints are as they were. Make room or name another"
            + " checkpoint.dir, and go on with --resume.",
        cause);
  }

  /** The messages of {@link FileSystemException} may be no more than the file's name. */
  private static String reason(IOException e) {
    String message = e.getMessage();
    return message != null && !(e instanceof FileSystemException)
        ? message
        : e.getClass().getSimpleName() + (message == null ? "" : " " + message);
  }

  private String free() {
    for (Path path = root.toAbsolutePath(); path != null; path = path.getParent()) {
      if (Files.exists(path)) {
        try {
          return Long.toString(Files.getFileStore(path).getUsableSpace());
        } catch (IOException e) {
          return "an unknown number";
        }
      }
    }
    return "an unknown number";
  }

  /** Deletes all but the newest. */
  public void keepNewest(int count) throws IOException {
    List<Path> all = all();
    for (Path directory : all.subList(0, Math.max(0, all.size() - count))) {
      // Renamed first: a reader never finds half a checkpoint.
      Path old =
          root.resolve(
              OLD + directory.getFileName().toString().substring(5) + "-" + UUID.randomUUID());
      move(directory, old);
      deleteQuietly(old);
    }
  }

  /**
   * Removes what a killed run has left. A checkpoint that was moved away and not replaced comes
   * back.
   */
  public void cleanUp() throws IOException {
    for (Path path : children()) {
      String name = path.getFileName().toString();
      Matcher old = OLD_NAME.matcher(name);
      if (old.matches()) {
        restoreOrDelete(path, root.resolve("step-" + old.group(1)));
      } else if (name.startsWith(PARTIAL)) {
        deleteQuietly(path);
      }
    }
  }

  /**
   * A kill between the two renames of a replacement leaves the step without its directory. What was
   * no longer kept comes back too, and is deleted with the next checkpoint.
   */
  private static void restoreOrDelete(Path old, Path target) throws IOException {
    if (isWhole(old) && !Files.exists(target)) {
      move(old, target);
    } else {
      deleteQuietly(old);
    }
  }

  /**
   * Deletes the manifest first, so that a half deleted directory is never taken for a checkpoint.
   * What lies behind a link is not the store's.
   */
  private static void deleteQuietly(Path directory) {
    try {
      if (Files.isSymbolicLink(directory)) {
        Files.delete(directory);
        return;
      }
      Files.deleteIfExists(directory.resolve(CheckpointManifest.FILE));
      try (Stream<Path> paths = Files.walk(directory)) {
        for (Path path : paths.sorted(Comparator.reverseOrder()).toList()) {
          Files.deleteIfExists(path);
        }
      }
    } catch (IOException | UncheckedIOException e) {
      // It is never read, and the next run tries again.
    }
  }

  /**
   * Moves all of the store's checkpoints, and what is left of some, to a new folder beside it;
   * nothing happens where there are none.
   */
  public Optional<Path> setAside() throws IOException {
    cleanUp();
    return setAsideAfter(-1);
  }

  /**
   * Moves the checkpoints of later steps to a folder beside this one: a run that goes on from an
   * earlier step would otherwise count its own as the older ones.
   *
   * @return where they are; empty if there was none
   */
  public Optional<Path> setAsideAfter(long step) throws IOException {
    List<Path> later = steps().stream().filter(directory -> step(directory) > step).toList();
    if (later.isEmpty()) {
      return Optional.empty();
    }
    Path aside = freeAside();
    Files.createDirectory(aside);
    for (Path directory : later) {
      move(directory, aside.resolve(directory.getFileName()));
    }
    return Optional.of(aside);
  }

  /**
   * Beside the folder, on the disk that a link leads to; within it where nothing can be renamed to
   * what is beside it.
   */
  private Path freeAside() throws IOException {
    Path own = Files.isSymbolicLink(root) ? root.toRealPath() : root;
    boolean isWithin = isMountedAt(own);
    for (int number = 1; ; number++) {
      Path aside =
          isWithin
              ? own.resolve("old-" + number)
              : own.resolveSibling(own.getFileName() + ".old-" + number);
      if (!Files.exists(aside)) {
        return aside;
      }
    }
  }

  private static boolean isMountedAt(Path folder) throws IOException {
    Path real = folder.toRealPath();
    Path parent = real.getParent();
    try {
      return parent == null || !Files.getFileStore(real).equals(Files.getFileStore(parent));
    } catch (IOException e) {
      return false; // a host that hides its mounts: renaming tells
    }
  }
}
