/* libmicrohttpd (0.9.75) takes a listening socket out of a worker's epoll set in two places when it is quiesced, in
 * MHD_quiesce_daemon and in the worker's own loop, and ends the process when it is no longer there for the second of
 * them (MHD_PANIC, "Failed to remove listen FD from epoll set"): a stop or a restart in the middle of requests would be
 * a crash now and then. What is to be out and is out is no error here. The dynamic linker binds the library's calls to
 * the program's own function. */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

int epoll_ctl(int epoll, int operation, int descriptor, struct epoll_event *event)
{
    long result = syscall(SYS_epoll_ctl, epoll, operation, descriptor, event);
    return result < 0 && operation == EPOLL_CTL_DEL && errno == ENOENT ? 0 : (int)result;
}
