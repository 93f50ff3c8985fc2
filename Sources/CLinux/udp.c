/* UDP sockets of the socket underlay driver: ip(7), ipv6(7), udp(7), recvmmsg(2), sendmmsg(2). */
#define _GNU_SOURCE
#include "CLinux.h"
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>
#include <linux/sock_diag.h>

#ifndef UDP_NO_CHECK6_TX
#define UDP_NO_CHECK6_TX 101
#define UDP_NO_CHECK6_RX 102
#endif
#define CLX_IP_PMTUDISC_DO 2
#define CLX_IP_PMTUDISC_INTERFACE 4
#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#define UDP_GRO 104
#endif
#ifndef SO_MEMINFO
#define SO_MEMINFO 55
#endif
#ifndef SO_RCVBUFFORCE
#define SO_RCVBUFFORCE 33
#define SO_SNDBUFFORCE 32
#endif

static socklen_t fill(struct sockaddr_storage *to, const struct clx_endpoint *from)
{
    if (from->family == AF_INET) {
        struct sockaddr_in *v4 = (struct sockaddr_in *)to;
        memset(v4, 0, sizeof *v4);
        v4->sin_family = AF_INET;
        v4->sin_port = htons(from->port);
        memcpy(&v4->sin_addr, from->address, 4);
        return sizeof *v4;
    }
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)to;
    memset(v6, 0, sizeof *v6);
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(from->port);
    memcpy(&v6->sin6_addr, from->address, 16);
    return sizeof *v6;
}

static void read_back(struct clx_endpoint *to, const struct sockaddr_storage *from)
{
    memset(to, 0, sizeof *to);
    to->family = from->ss_family;
    if (from->ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)from;
        to->port = ntohs(v4->sin_port);
        memcpy(to->address, &v4->sin_addr, 4);
    } else {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)from;
        to->port = ntohs(v6->sin6_port);
        memcpy(to->address, &v6->sin6_addr, 16);
    }
}

/* One direction is used, the other gets the least the kernel gives. */
static void set_buffers(int fd, unsigned flags, int bytes)
{
    int receives = flags & CLX_UDP_RECEIVER;
    int least = 1;
    (void)setsockopt(fd, SOL_SOCKET, receives ? SO_SNDBUF : SO_RCVBUF, &least, sizeof least);
    /* The FORCE forms go past net.core.[rw]mem_max and need CAP_NET_ADMIN; without it take what is given. */
    if (setsockopt(fd, SOL_SOCKET, receives ? SO_RCVBUFFORCE : SO_SNDBUFFORCE, &bytes, sizeof bytes) < 0)
        (void)setsockopt(fd, SOL_SOCKET, receives ? SO_RCVBUF : SO_SNDBUF, &bytes, sizeof bytes);
}

static int set_option(int fd, int level, int name, int value)
{
    return setsockopt(fd, level, name, &value, sizeof value) < 0 ? -errno : 0;
}

static int configure(int fd, int family, unsigned flags)
{
    int discovery = flags & CLX_UDP_DO_NOT_FRAGMENT ? CLX_IP_PMTUDISC_DO : CLX_IP_PMTUDISC_INTERFACE;
    int result = 0;
    if (!(flags & CLX_UDP_RECEIVER))
        /* Whatever the host's default: a datagram that says nothing else leaves with 64. */
        result = family == AF_INET6 ? set_option(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, 64)
                                    : set_option(fd, IPPROTO_IP, IP_TTL, 64);
    if (!result && flags & CLX_UDP_TRAINS)
        result = set_option(fd, IPPROTO_UDP, UDP_GRO, 1);
    if (result)
        return result;
    if (family == AF_INET6) {
        result = set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
        if (!result)
            result = set_option(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, discovery);
        if (!result && flags & CLX_UDP_NO_CHECKSUM)
            result = set_option(fd, IPPROTO_UDP, UDP_NO_CHECK6_TX, 1);
        if (!result && flags & CLX_UDP_RECEIVER)
            result = set_option(fd, IPPROTO_UDP, UDP_NO_CHECK6_RX, 1);
        if (!result && flags & CLX_UDP_RECEIVER)
            result = set_option(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, 1);
        if (!result && flags & CLX_UDP_RECEIVER)
            result = set_option(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
        return result;
    }
    result = set_option(fd, IPPROTO_IP, IP_MTU_DISCOVER, discovery);
    if (!result && flags & CLX_UDP_NO_CHECKSUM)
        result = set_option(fd, SOL_SOCKET, SO_NO_CHECK, 1);
    if (!result && flags & CLX_UDP_RECEIVER)
        result = set_option(fd, IPPROTO_IP, IP_RECVTOS, 1);
    if (!result && flags & CLX_UDP_RECEIVER)
        result = set_option(fd, IPPROTO_IP, IP_PKTINFO, 1);
    return result;
}

int clx_udp_open(const struct clx_endpoint *local, unsigned flags, int buffer_bytes)
{
    struct sockaddr_storage address;
    socklen_t length = fill(&address, local);
    int fd = socket(local->family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int result = configure(fd, local->family, flags);
    if (!result && flags & CLX_UDP_JOIN)
        result = clx_udp_share(fd);
    if (!result && bind(fd, (struct sockaddr *)&address, length) < 0)
        result = -errno;
    if (result) {
        close(fd);
        return result;
    }
    set_buffers(fd, flags, buffer_bytes);
    return fd;
}

int clx_udp_share(int fd) { return set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1); }

int clx_udp_port(int fd)
{
    struct sockaddr_storage address;
    struct clx_endpoint endpoint;
    socklen_t length = sizeof address;
    if (getsockname(fd, (struct sockaddr *)&address, &length) < 0)
        return -errno;
    read_back(&endpoint, &address);
    return endpoint.port;
}

int clx_udp_family(int fd)
{
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    int kind = 0;
    socklen_t kind_length = sizeof kind;
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &kind, &kind_length) < 0 ||
        getsockname(fd, (struct sockaddr *)&address, &length) < 0)
        return -errno;
    return kind == SOCK_DGRAM ? address.ss_family : -EINVAL;
}

int64_t clx_socket_drops(int fd)
{
    uint32_t info[SK_MEMINFO_VARS];
    socklen_t length = sizeof info;
    if (getsockopt(fd, SOL_SOCKET, SO_MEMINFO, info, &length) < 0)
        return -errno;
    return info[SK_MEMINFO_DROPS];
}

/* A connected socket is the kernel's own answer to "which way, how big"; nothing is sent. */
static int connect_probe(const struct clx_endpoint *remote, const struct clx_endpoint *local)
{
    struct sockaddr_storage address;
    int fd = socket(remote->family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (local && local->family) {
        socklen_t length = fill(&address, local);
        if (bind(fd, (struct sockaddr *)&address, length) < 0)
            goto failed;
    }
    socklen_t length = fill(&address, remote);
    if (connect(fd, (struct sockaddr *)&address, length) < 0)
        goto failed;
    return fd;
failed:;
    int error = errno;
    close(fd);
    return -error;
}

int clx_route_mtu(const struct clx_endpoint *remote, const struct clx_endpoint *local)
{
    int mtu = 0;
    socklen_t length = sizeof mtu;
    int fd = connect_probe(remote, local);
    if (fd < 0)
        return fd;
    int v4 = remote->family == AF_INET;
    int result = getsockopt(fd, v4 ? IPPROTO_IP : IPPROTO_IPV6, v4 ? IP_MTU : IPV6_MTU, &mtu, &length);
    int error = errno;
    close(fd);
    return result < 0 ? -error : mtu;
}

#define MAX_BATCH 64
#define CONTROL_BYTES (CMSG_SPACE(sizeof(struct in6_pktinfo)) + 3 * CMSG_SPACE(sizeof(int)))

union control {
    struct cmsghdr align;
    char bytes[CONTROL_BYTES];
};

static void read_control(struct clx_datagram *datagram, struct msghdr *message)
{
    datagram->tos = 0;
    datagram->segment = 0;
    datagram->destination.family = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
        if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS) {
            datagram->tos = *CMSG_DATA(c);
        } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_TCLASS) {
            int value;
            memcpy(&value, CMSG_DATA(c), sizeof value);
            datagram->tos = (uint32_t)value & 0xff;
        } else if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO) {
            int value;
            memcpy(&value, CMSG_DATA(c), sizeof value);
            datagram->segment = (uint32_t)value;
        } else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
            struct in_pktinfo info;
            memcpy(&info, CMSG_DATA(c), sizeof info);
            datagram->destination.family = AF_INET;
            memcpy(datagram->destination.address, &info.ipi_addr, 4);
        } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
            struct in6_pktinfo info;
            memcpy(&info, CMSG_DATA(c), sizeof info);
            datagram->destination.family = AF_INET6;
            memcpy(datagram->destination.address, &info.ipi6_addr, 16);
        }
    }
}

int clx_udp_receive(int fd, struct clx_datagram *datagrams, unsigned count)
{
    struct mmsghdr messages[MAX_BATCH];
    struct iovec parts[MAX_BATCH];
    struct sockaddr_storage sources[MAX_BATCH];
    union control control[MAX_BATCH];
    if (count > MAX_BATCH)
        count = MAX_BATCH;
    memset(messages, 0, count * sizeof messages[0]);
    for (unsigned i = 0; i < count; i++) {
        parts[i] = (struct iovec){datagrams[i].data, datagrams[i].capacity};
        messages[i].msg_hdr.msg_name = &sources[i];
        messages[i].msg_hdr.msg_namelen = sizeof sources[i];
        messages[i].msg_hdr.msg_iov = &parts[i];
        messages[i].msg_hdr.msg_iovlen = 1;
        messages[i].msg_hdr.msg_control = &control[i];
        messages[i].msg_hdr.msg_controllen = sizeof control[i];
    }
    int received = recvmmsg(fd, messages, count, MSG_DONTWAIT, NULL);
    if (received < 0)
        return -errno;
    for (int i = 0; i < received; i++) {
        datagrams[i].length = messages[i].msg_len;
        datagrams[i].truncated = (messages[i].msg_hdr.msg_flags & MSG_TRUNC) != 0;
        read_back(&datagrams[i].source, &sources[i]);
        read_control(&datagrams[i], &messages[i].msg_hdr);
    }
    return received;
}

static void put_control(
    struct msghdr *message, size_t *used, int level, int type, const void *value, size_t size)
{
    struct cmsghdr *c = (struct cmsghdr *)((char *)message->msg_control + *used);
    c->cmsg_level = level;
    c->cmsg_type = type;
    c->cmsg_len = CMSG_LEN(size);
    memcpy(CMSG_DATA(c), value, size);
    *used += CMSG_SPACE(size);
}

/* Only what differs from the socket's defaults is said: each control message costs a route lookup. */
static void write_control(struct msghdr *header, const struct clx_message *message)
{
    size_t used = 0;
    int v4 = message->destination.family == AF_INET;
    if (message->tos) {
        int tos = message->tos;
        put_control(header, &used, v4 ? IPPROTO_IP : IPPROTO_IPV6, v4 ? IP_TOS : IPV6_TCLASS, &tos, sizeof tos);
    }
    if (message->ttl) {
        int ttl = message->ttl;
        put_control(header, &used, v4 ? IPPROTO_IP : IPPROTO_IPV6, v4 ? IP_TTL : IPV6_HOPLIMIT, &ttl, sizeof ttl);
    }
    if (message->source.family && v4) {
        struct in_pktinfo info = {0};
        memcpy(&info.ipi_spec_dst, message->source.address, 4);
        put_control(header, &used, IPPROTO_IP, IP_PKTINFO, &info, sizeof info);
    } else if (message->source.family) {
        struct in6_pktinfo info = {0};
        memcpy(&info.ipi6_addr, message->source.address, 16);
        put_control(header, &used, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof info);
    }
    if (message->segment) {
        uint16_t segment = (uint16_t)message->segment;
        put_control(header, &used, IPPROTO_UDP, UDP_SEGMENT, &segment, sizeof segment);
    }
    header->msg_controllen = used;
    if (!used)
        header->msg_control = NULL;
}

int clx_udp_send(int fd, const struct clx_message *messages, unsigned count)
{
    struct mmsghdr headers[MAX_BATCH];
    struct sockaddr_storage destinations[MAX_BATCH];
    union control control[MAX_BATCH];
    if (count > MAX_BATCH)
        count = MAX_BATCH;
    memset(headers, 0, count * sizeof headers[0]);
    for (unsigned i = 0; i < count; i++) {
        struct msghdr *header = &headers[i].msg_hdr;
        header->msg_name = &destinations[i];
        header->msg_namelen = fill(&destinations[i], &messages[i].destination);
        header->msg_iov = (struct iovec *)messages[i].parts;
        header->msg_iovlen = messages[i].part_count;
        header->msg_control = &control[i];
        write_control(header, &messages[i]);
    }
    int sent = sendmmsg(fd, headers, count, MSG_DONTWAIT | MSG_NOSIGNAL);
    return sent < 0 ? -errno : sent;
}
