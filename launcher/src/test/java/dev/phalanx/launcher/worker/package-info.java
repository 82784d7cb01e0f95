/** Tests of what this host runs of a job. */
@NullMarked
package dev.phalanx.launcher.worker;

import org.jspecify.annotations.NullMarked;
