/* Raw ICMP sockets for probing path MTUs: raw(7), ip(7), ipv6(7), linux/icmp.h, linux/icmpv6.h. */
#define _GNU_SOURCE
#include "CLinux.h"
#include <errno.h>
#include <unistd.h>
#include <netinet/in.h>
#include <netinet/icmp6.h>
#include <sys/socket.h>
#include <linux/icmp.h>

#define CLX_PMTUDISC_PROBE 3

static int set(int fd, int level, int name, int value)
{
    return setsockopt(fd, level, name, &value, sizeof value);
}

static int configure(int fd, int family)
{
    if (family == AF_INET) {
        /* A set bit keeps the type out. */
        struct icmp_filter filter = {~(1u << ICMP_ECHOREPLY | 1u << ICMP_DEST_UNREACH)};
        if (setsockopt(fd, SOL_RAW, ICMP_FILTER, &filter, sizeof filter) < 0)
            return -1;
        return set(fd, IPPROTO_IP, IP_MTU_DISCOVER, CLX_PMTUDISC_PROBE);
    }
    struct icmp6_filter filter;
    ICMP6_FILTER_SETBLOCKALL(&filter);
    ICMP6_FILTER_SETPASS(ICMP6_ECHO_REPLY, &filter);
    ICMP6_FILTER_SETPASS(ICMP6_PACKET_TOO_BIG, &filter);
    if (setsockopt(fd, IPPROTO_ICMPV6, ICMP6_FILTER, &filter, sizeof filter) < 0)
        return -1;
    if (set(fd, IPPROTO_IPV6, IPV6_DONTFRAG, 1) < 0)
        return -1;
    return set(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, CLX_PMTUDISC_PROBE);
}

int clx_icmp_open(int family)
{
    int protocol = family == AF_INET ? IPPROTO_ICMP : IPPROTO_ICMPV6;
    int fd = socket(family, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
    if (fd < 0)
        return -errno;
    if (configure(fd, family) < 0) {
        int error = errno;
        close(fd);
        return -error;
    }
    return fd;
}
