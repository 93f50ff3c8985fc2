/*
 * CChecksum: the one loop of the Internet checksum (RFC 1071) that is worth a vector unit, built for several
 * and chosen when the program is loaded: what Swift cannot spell. Pure; no state.
 */
#ifndef CCHECKSUM_H
#define CCHECKSUM_H

#include <stddef.h>
#include <stdint.h>

/* The sum of the 32-bit words of `count` bytes at `base` (any alignment), in the machine's byte order; an
 * incomplete last word is filled up with zeros. Unfolded, below 2^33. */
__attribute__((swift_attr("@_noLocks"))) uint64_t ccs_sum(const void *base, size_t count);

#endif
