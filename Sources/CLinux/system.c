/* epoll, eventfd, netlink, namespaces, file locks, the clock. */
#define _GNU_SOURCE
#include "CLinux.h"
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
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

uint64_t clx_real_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

const char *clx_errno_name(int code) { return strerrorname_np(code); }

int clx_trim_heap(void) { return malloc_trim(0); }

int clx_tune_heap(int count, int kept)
{
    return mallopt(M_ARENA_MAX, count) && mallopt(M_TRIM_THRESHOLD, kept) && mallopt(M_MMAP_THRESHOLD, kept);
}

uint64_t clx_thread_cpu_ns(void)
{
    struct timespec used;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    return (uint64_t)used.tv_sec * 1000000000u + (uint64_t)used.tv_nsec;
}

int clx_close_on_exec(int fd, int on)
{
    int flags = fcntl(fd, F_GETFD);
    if (flags < 0)
        return -errno;
    return result(fcntl(fd, F_SETFD, on ? flags | FD_CLOEXEC : flags & ~FD_CLOEXEC));
}

int clx_close_all_on_exec(int first)
{
    /* close_range(2) with CLOSE_RANGE_CLOEXEC: Linux 5.11. */
    return result((int)syscall(SYS_close_range, (unsigned)first, ~0u, 4u));
}

int clx_memory_file(const char *name, const void *bytes, size_t count)
{
    int fd = memfd_create(name, MFD_CLOEXEC);
    if (fd < 0)
        return -errno;
    for (size_t done = 0; done < count;) {
        ssize_t written = pwrite(fd, (const char *)bytes + done, count - done, (off_t)done);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0) {
            int error = written < 0 ? errno : ENOSPC;
            close(fd);
            return -error;
        }
        done += (size_t)written;
    }
    return fd;
}

int clx_exec(const char *path, char *const arguments[], char *const environment[])
{
    sigset_t ends, before;
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    sigaddset(&ends, SIGHUP);
    /* Asked to end meanwhile: that waits until the next program looks. */
    pthread_sigmask(SIG_SETMASK, &ends, &before);
    execve(path, arguments, environment);
    int error = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return -error;
}

int clx_send_descriptors(int socket, const struct sockaddr *name, unsigned name_bytes, const char *text,
                         const int *descriptors, unsigned count)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(CLX_DESCRIPTORS_PER_MESSAGE * sizeof(int))];
    } control;
    struct iovec part = {(char *)text, strlen(text)};
    struct msghdr message = {.msg_name = (void *)name, .msg_namelen = name_bytes, .msg_iov = &part, .msg_iovlen = 1};
    if (count > CLX_DESCRIPTORS_PER_MESSAGE)
        return -EINVAL;
    if (count > 0) {
        memset(&control, 0, sizeof control);
        message.msg_control = &control;
        message.msg_controllen = CMSG_SPACE(count * sizeof(int));
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(header), descriptors, count * sizeof(int));
    }
    return sendmsg(socket, &message, MSG_NOSIGNAL) < 0 ? -errno : 0;
}
