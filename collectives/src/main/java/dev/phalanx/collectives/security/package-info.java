/**
 * What makes a process a member of a job, and what protects what the job's processes say to each
 * other.
 */
@NullMarked
package dev.phalanx.collectives.security;

import org.jspecify.annotations.NullMarked;
