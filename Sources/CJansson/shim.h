/* jansson 2.14 as Swift sees it. Nothing here needs a shim: the variadic calls are not used. */
#ifndef VIADUCT_CJANSSON_SHIM_H
#define VIADUCT_CJANSSON_SHIM_H
#include <jansson.h>
#endif
