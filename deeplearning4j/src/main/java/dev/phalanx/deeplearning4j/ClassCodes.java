package dev.phalanx.deeplearning4j;

import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

/**
 * The classes of a table's labels: whole numbers from 0, which are their own codes, or words, coded
 * in their sorted order.
 *
 * @param words in the order of their codes; none where labels are numbers
 */
record ClassCodes(int classes, List<String> words) {

  static ClassCodes ofWords(int classes, Iterable<String> words) {
    TreeSet<String> sorted = new TreeSet<>();
    words.forEach(sorted::add);
    return new ClassCodes(classes, List.copyOf(sorted));
  }

  boolean areNumbers() {
    return words.isEmpty();
  }

  /** By word. */
  Map<String, Integer> codes() {
    return IntStream.range(0, words.size())
        .boxed()
        .collect(Collectors.toMap(words::get, code -> code));
  }

  /** Of all classes; those that no word is for are called by their number. */
  List<String> names() {
    return IntStream.range(0, classes)
        .mapToObj(code -> code < words.size() ? words.get(code) : Integer.toString(code))
        .toList();
  }
}
