/* libmicrohttpd 0.9.75 as Swift sees it: the header, and the three variadic calls Viaduct makes, spelled
 * without `...`. No logic. _GNU_SOURCE stays undefined here: it changes glibc types and breaks the import. */
#ifndef VIADUCT_CMICROHTTPD_SHIM_H
#define VIADUCT_CMICROHTTPD_SHIM_H
#include <stdarg.h>
#include <stdio.h>
#include <microhttpd.h>

/* Where libmicrohttpd's log lines go; Swift cannot be called with a va_list. */
struct viaduct_mhd_logger {
    void (*write)(void *context, const char *line);
    void *context;
};

static inline void
viaduct_mhd_log(void *logger, const char *format, va_list arguments)
{
    char line[512];
    vsnprintf(line, sizeof line, format, arguments);
    ((struct viaduct_mhd_logger *) logger)->write(((struct viaduct_mhd_logger *) logger)->context, line);
}

/* MHD_start_daemon without accept policy; `options` ends with MHD_OPTION_END. The logger comes first, or
 * what is wrong with the other options is printed to stderr, and must outlive the daemon. NULL on failure. */
static inline struct MHD_Daemon *
viaduct_mhd_start(unsigned int flags, MHD_AccessHandlerCallback handler, void *context,
                  struct viaduct_mhd_logger *logger, struct MHD_OptionItem *options)
{
    return MHD_start_daemon(flags, 0, NULL, NULL, handler, context,
                            MHD_OPTION_EXTERNAL_LOGGER, &viaduct_mhd_log, logger,
                            MHD_OPTION_ARRAY, options, MHD_OPTION_END);
}

/* What NOTIFY_CONNECTION stored for this connection, or NULL. */
static inline void *
viaduct_mhd_socket_context(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info ? info->socket_context : NULL;
}

/* The file descriptor of this connection, or -1. */
static inline int
viaduct_mhd_connection_fd(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    return info ? info->connect_fd : -1;
}

/* The GnuTLS session of this connection, or NULL without TLS. */
static inline void *
viaduct_mhd_tls_session(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);
    return info ? info->tls_session : NULL;
}
#endif
