/* epoll, eventfd, netlink, namespaces, file locks, the clock. */
#define _GNU_SOURCE
#include "CLinux.h"
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <linux/netlink.h>

static int result(int value)
{
    return value < 0 ? -errno : value;
}

int clx_epoll_create(void) { return result(epoll_create1(EPOLL_CLOEXEC)); }

int clx_epoll_add(int epoll, int fd, uint64_t token)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = token};
    return result(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
}

int clx_epoll_remove(int epoll, int fd) { return result(epoll_ctl(epoll, EPOLL_CTL_DEL, fd, NULL)); }

int clx_epoll_wait(int epoll, struct clx_event *events, int count, int timeout_ms)
{
    struct epoll_event raw[64];
    int ready = epoll_wait(epoll, raw, count < 64 ? count : 64, timeout_ms);
    if (ready < 0)
        return errno == EINTR ? 0 : -errno;
    for (int i = 0; i < ready; i++)
        events[i] = (struct clx_event){raw[i].events, raw[i].data.u64};
    return ready;
}

int clx_eventfd_create(void) { return result(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)); }

int clx_eventfd_signal(int fd)
{
    uint64_t one = 1;
    return write(fd, &one, sizeof one) < 0 && errno != EAGAIN ? -errno : 0;
}

int clx_eventfd_drain(int fd)
{
    uint64_t count;
    return read(fd, &count, sizeof count) < 0 && errno != EAGAIN ? -errno : 0;
}

int clx_netlink_open(uint32_t groups)
{
    int on = 1;
    struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = groups};
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (fd < 0)
        return -errno;
    (void)setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0) {
        int error = errno;
        close(fd);
        return -error;
    }
    return fd;
}

int clx_leave_network_namespace(void)
{
    return unshare(CLONE_NEWNET) < 0 ? -errno : 0;
}

int clx_enter_network_namespace(int fd) { return result(setns(fd, CLONE_NEWNET)); }

int clx_name_thread(const char *name) { return -pthread_setname_np(pthread_self(), name); }

int clx_open_read(const char *path) { return result(open(path, O_RDONLY | O_CLOEXEC)); }

int clx_lock_file(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        int error = errno;
        close(fd);
        return -error;
    }
    return fd;
}

uint64_t clx_monotonic_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

uint64_t clx_monotonic_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

const char *clx_errno_name(int code) { return strerrorname_np(code); }

int clx_trim_heap(void) { return malloc_trim(0); }

uint64_t clx_thread_cpu_ns(void)
{
    struct timespec used;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    return (uint64_t)used.tv_sec * 1000000000u + (uint64_t)used.tv_nsec;
}
