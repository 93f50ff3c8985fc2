/* libseccomp 2.5 as Swift sees it: filters of system calls. */
#ifndef VIADUCT_CSECCOMP_SHIM_H
#define VIADUCT_CSECCOMP_SHIM_H
#include <seccomp.h>

/* Macros that Swift does not take. */
static const uint32_t viaduct_seccomp_allow = SCMP_ACT_ALLOW;
static inline uint32_t viaduct_seccomp_errno(uint16_t code) { return SCMP_ACT_ERRNO(code); }
#endif
