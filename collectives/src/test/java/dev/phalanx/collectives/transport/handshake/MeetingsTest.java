package dev.phalanx.collectives.transport.handshake;

import static org.assertj.core.api.Assertions.assertThat;

import dev.phalanx.collectives.transport.GroupId;
import dev.phalanx.collectives.transport.handshake.Meeting.Answer;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

final class MeetingsTest {
  private static final String LEFT = "has left the group";

  private final Meetings<String> meetings = new Meetings<>(2);

  private static GroupId group(int generation) {
    return new GroupId(17, generation);
  }

  @Test
  void bothSidesMeetInTheSamePlace() {
    assertThat(meetings.with(group(0), 1, 0)).isSameAs(meetings.with(group(0), 1, 0));
    assertThat(meetings.with(group(0), 1, 0)).isNotSameAs(meetings.with(group(0), 2, 0));
    assertThat(meetings.with(group(0), 1, 0)).isNotSameAs(meetings.with(group(1), 1, 0));
    assertThat(meetings.with(group(0), 1, 0)).isNotSameAs(meetings.with(group(0), 1, 1));
  }

  @Test
  void whatWasLeftIsNotKept() {
    for (int generation = 0; generation < 100; generation++) {
      meetings.with(group(generation), 1, 0).leave(LEFT);
    }
    assertThat(meetings.size()).isZero();
  }

  @Test
  void whoComesLateHearsWhy() {
    Meeting<String> failed = meetings.with(group(0), 1, 0);
    failed.end("cannot go on");
    failed.leave(LEFT);
    meetings.with(group(1), 1, 0).leave(LEFT);

    assertThat(meetings.with(group(0), 1, 0).arrive(true))
        .isEqualTo(new Answer(Answer.Kind.OVER, "cannot go on"));
    assertThat(meetings.with(group(1), 1, 0).arrive(true))
        .isEqualTo(new Answer(Answer.Kind.OVER, LEFT));
    assertThat(meetings.size()).isZero();
  }

  /** Or nobody would tell it the farewell, and close it. */
  @Test
  void aWelcomedConnectionGoesWhereItWasWelcomedThoughThatIsLeftMeanwhile() {
    List<String> told = new ArrayList<>();
    Meeting<String> meeting = meetings.with(group(0), 1, 0);
    meeting.met().thenAccept(told::add);

    Meetings.Arrival<String> arrival = meetings.arrive(new Hello("tcp", group(0), 1, 0, 0, 2));
    meeting.leave(LEFT);
    arrival.met().complete("connection");

    assertThat(arrival.answer().kind()).isEqualTo(Answer.Kind.WELCOME);
    assertThat(told).containsExactly("connection");
  }

  /** As a wrong port mapping brings it: what it sends must not be taken for this rank's. */
  @Test
  void whoLooksForAnotherRankIsTurnedAway() {
    List<String> unwanted = new ArrayList<>();
    Meetings.Arrival<String> early = meetings.arrive(hello(1, 2));
    early.met().complete("early");
    meetings.join(group(0), 0, unwanted::add);
    assertThat(unwanted).containsExactly("early");

    Answer late = meetings.arrive(hello(1, 2)).answer();
    assertThat(late.kind()).isEqualTo(Answer.Kind.OVER);
    assertThat(late.reason()).contains("is not what listens at its address").contains("rank 0");
    Meetings.Arrival<String> right = meetings.arrive(hello(1, 0));
    assertThat(right.answer().kind()).isEqualTo(Answer.Kind.WELCOME);
    assertThat(meetings.with(group(0), 1, 0).met()).isSameAs(right.met());
  }

  private static Hello hello(int from, int to) {
    return new Hello("tcp", group(0), from, to, 0, 2);
  }

  @Test
  void theLatestReasonsAreKept() {
    for (int generation = 0; generation <= Meetings.MOST_REASONS; generation++) {
      meetings.with(group(generation), 1, 0).leave(LEFT);
    }
    assertThat(meetings.with(group(1), 1, 0).arrive(true).kind()).isEqualTo(Answer.Kind.OVER);
    assertThat(meetings.with(group(0), 1, 0).arrive(true).kind()).isEqualTo(Answer.Kind.WELCOME);
  }

  @Test
  void everyConnectionThatNobodyHasLeftIsTaken() {
    meetings.with(group(0), 1, 0).met().complete("open");
    Meeting<String> left = meetings.with(group(0), 2, 0);
    left.met().complete("left");
    left.leave(LEFT);
    Meeting<String> late = meetings.with(group(0), 3, 0);
    List<String> taken = new ArrayList<>();

    meetings.forEach(taken::add);
    late.met().complete("late");

    assertThat(taken).containsExactly("open", "late");
  }
}
