/**
 * Networks that fail on command, for tests of what ranks do then. Start reading at {@link
 * dev.phalanx.collectives.fault.FaultProxy}. Nothing here knows the protocol between ranks.
 */
@NullMarked
package dev.phalanx.collectives.fault;

import org.jspecify.annotations.NullMarked;
