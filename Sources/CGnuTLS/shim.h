/* GnuTLS 3.7 as Swift sees it: digests, certificates and sessions. No logic. `gnutls_free` is a variable that holds a
 * function, which Swift takes for shared mutable state; so it is spelled as a function. */
#ifndef VIADUCT_CGNUTLS_SHIM_H
#define VIADUCT_CGNUTLS_SHIM_H
#include <gnutls/gnutls.h>
#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <gnutls/x509.h>

static inline void
viaduct_gnutls_free(void *memory)
{
    gnutls_free(memory);
}
#endif
