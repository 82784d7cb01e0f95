/** Tests of what this host runs of a job. */
@NullMarked
package dev.phalanx.launcher.local;

import org.jspecify.annotations.NullMarked;
