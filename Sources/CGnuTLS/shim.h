/* GnuTLS 3.7 as Swift sees it: digests, so far. */
#ifndef VIADUCT_CGNUTLS_SHIM_H
#define VIADUCT_CGNUTLS_SHIM_H
#include <gnutls/gnutls.h>
#include <gnutls/crypto.h>
#endif
