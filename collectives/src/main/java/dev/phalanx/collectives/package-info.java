/**
 * Collective operations between the ranks of a group, usable as a library of their own.
 *
 * <p>May use {@code dev.phalanx.tensor} only. {@link dev.phalanx.collectives.Communicator} is the
 * place to start reading: code above knows ranks only through it. {@code algorithm} holds one
 * algorithm a file, {@code transport} what moves bytes, {@code rendezvous} how ranks find and trust
 * each other.
 */
@NullMarked
package dev.phalanx.collectives;

import org.jspecify.annotations.NullMarked;
