/* TAP devices and packet sockets: linux/if_tun.h, linux/if_packet.h. */
#define _GNU_SOURCE
#include "CLinux.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include <arpa/inet.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <linux/if.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>

#ifndef TUNGETDEVNETNS
#define TUNGETDEVNETNS _IO('T', 227)
#endif
#ifndef PACKET_IGNORE_OUTGOING
#define PACKET_IGNORE_OUTGOING 23
#endif

static int close_with(int fd, int error)
{
    close(fd);
    return -error;
}

static int open_queue(const char *name, int more_flags, int header_size)
{
    struct ifreq request;
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    memset(&request, 0, sizeof request);
    strncpy(request.ifr_name, name, IFNAMSIZ - 1);
    request.ifr_flags = (short)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | more_flags);
    if (ioctl(fd, TUNSETIFF, &request) < 0)
        return close_with(fd, errno);
    if (ioctl(fd, TUNSETVNETHDRSZ, &header_size) < 0)
        return close_with(fd, errno);
    return fd;
}

/* IFF_TUN_EXCL: never attach to a TAP that is already there, it is somebody else's. */
static int create(const char *name, unsigned offloads, int more_flags, int header_size)
{
    int fd = open_queue(name, IFF_TUN_EXCL | more_flags, header_size);
    if (fd == -EINVAL)
        return -EEXIST; /* of another kind */
    if (fd >= 0 && ioctl(fd, TUNSETOFFLOAD, offloads) < 0)
        return close_with(fd, errno);
    return fd;
}

int clx_tap_open(const char *name, unsigned offloads)
{
    return create(name, offloads, 0, sizeof(struct clx_vnet_header));
}

int clx_tap_open_queues(const char *name, unsigned offloads)
{
    return create(name, offloads, IFF_MULTI_QUEUE, sizeof(struct clx_vnet_header));
}

int clx_tap_join(const char *name) { return open_queue(name, IFF_MULTI_QUEUE, sizeof(struct clx_vnet_header)); }

int clx_uplink_open(const char *name, unsigned offloads, int more_queues)
{
    return create(name, offloads, more_queues ? IFF_MULTI_QUEUE : 0, sizeof(struct clx_tunnel_header));
}

int clx_uplink_join(const char *name)
{
    return open_queue(name, IFF_MULTI_QUEUE, sizeof(struct clx_tunnel_header));
}

int clx_tap_attach(const char *name, unsigned offloads, int more_queues)
{
    struct ifreq request;
    int header_size = sizeof(struct clx_vnet_header);
    int fd = open_queue(name, more_queues ? IFF_MULTI_QUEUE : 0, header_size);
    if (fd == -EINVAL && !more_queues)
        fd = open_queue(name, IFF_MULTI_QUEUE, header_size); /* made for several, used by one */
    if (fd < 0)
        return fd;
    /* One that was not there has been made by the call, and goes with the descriptor. */
    memset(&request, 0, sizeof request);
    if (ioctl(fd, TUNGETIFF, &request) < 0)
        return close_with(fd, errno);
    if (!(request.ifr_flags & IFF_PERSIST))
        return close_with(fd, ENODEV);
    if (ioctl(fd, TUNSETOFFLOAD, offloads) < 0)
        return close_with(fd, errno);
    return fd;
}

int clx_tap_keep(int fd, int on) { return ioctl(fd, TUNSETPERSIST, on) < 0 ? -errno : 0; }

int clx_tap_queues(int fd)
{
    struct ifreq request;
    memset(&request, 0, sizeof request);
    if (ioctl(fd, TUNGETIFF, &request) < 0)
        return -errno;
    if (!(request.ifr_flags & IFF_TAP) || !(request.ifr_flags & IFF_VNET_HDR))
        return -EINVAL;
    return request.ifr_flags & IFF_MULTI_QUEUE ? 1 : 0;
}

int clx_tap_namespace(int fd)
{
    int there = ioctl(fd, TUNGETDEVNETNS);
    return there < 0 ? -errno : there;
}

int clx_tap_birthplace(int fd)
{
    int there = ioctl(fd, SIOCGSKNS);
    return there < 0 ? -errno : there;
}

int clx_tap_set_offloads(int fd, unsigned offloads)
{
    return ioctl(fd, TUNSETOFFLOAD, offloads) < 0 ? -errno : 0;
}

int clx_tap_name(int fd, char name[16])
{
    struct ifreq request;
    memset(&request, 0, sizeof request);
    if (ioctl(fd, TUNGETIFF, &request) < 0)
        return -errno;
    memcpy(name, request.ifr_name, IFNAMSIZ);
    return 0;
}

int clx_packet_open(int interface_index)
{
    int on = 1;
    struct sockaddr_ll address = {
        .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = interface_index};
    struct packet_mreq promiscuous = {.mr_ifindex = interface_index, .mr_type = PACKET_MR_PROMISC};
    /* Protocol 0 until bound: no frame of another interface can slip in before. */
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof on) < 0 ||
        setsockopt(fd, SOL_PACKET, PACKET_AUXDATA, &on, sizeof on) < 0 ||
        setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof on) < 0 ||
        setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &promiscuous, sizeof promiscuous) < 0 ||
        bind(fd, (struct sockaddr *)&address, sizeof address) < 0)
        return close_with(fd, errno);
    int bytes = 4 << 20; /* 60 superframes of 64 KiB in flight */
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes) < 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
    return fd;
}

int clx_packet_interface(int fd)
{
    struct sockaddr_ll address;
    socklen_t length = sizeof address;
    if (getsockname(fd, (struct sockaddr *)&address, &length) < 0)
        return -errno;
    return address.sll_family == AF_PACKET ? address.sll_ifindex : -EINVAL;
}

int clx_packet_open_sender(int interface_index, int buffer_bytes)
{
    int on = 1;
    struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_ifindex = interface_index};
    /* Protocol 0, bound or not: nothing is received. */
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof on) < 0 ||
        bind(fd, (struct sockaddr *)&address, sizeof address) < 0)
        return close_with(fd, errno);
    if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &buffer_bytes, sizeof buffer_bytes) < 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &buffer_bytes, sizeof buffer_bytes);
    return fd;
}

/* Puts the tag that the kernel stripped back in front of the EtherType. */
static void restore_vlan_tag(struct clx_raw_frame *frame, const struct tpacket_auxdata *aux)
{
    uint16_t tag[2];
    if (!(aux->tp_status & TP_STATUS_VLAN_VALID) || frame->length < 12)
        return;
    tag[0] = htons(aux->tp_status & TP_STATUS_VLAN_TPID_VALID ? aux->tp_vlan_tpid : ETH_P_8021Q);
    tag[1] = htons(aux->tp_vlan_tci);
    memmove((char *)frame->data - 4, frame->data, 12);
    frame->data = (char *)frame->data - 4;
    memcpy((char *)frame->data + 12, tag, 4);
    frame->length += 4;
    if (frame->offload.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM)
        frame->offload.checksum_start += 4;
    if (frame->offload.gso_type)
        frame->offload.header_length += 4;
}

#define MAX_BATCH 64

int clx_packet_receive(int fd, struct clx_raw_frame *frames, unsigned count)
{
    struct mmsghdr messages[MAX_BATCH];
    struct iovec parts[MAX_BATCH][2];
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(struct tpacket_auxdata))];
    } control[MAX_BATCH];
    if (count > MAX_BATCH)
        count = MAX_BATCH;
    memset(messages, 0, count * sizeof messages[0]);
    for (unsigned i = 0; i < count; i++) {
        parts[i][0] = (struct iovec){&frames[i].offload, sizeof frames[i].offload};
        parts[i][1] = (struct iovec){frames[i].data, frames[i].capacity};
        messages[i].msg_hdr.msg_iov = parts[i];
        messages[i].msg_hdr.msg_iovlen = 2;
        messages[i].msg_hdr.msg_control = &control[i];
        messages[i].msg_hdr.msg_controllen = sizeof control[i];
    }
    int received = recvmmsg(fd, messages, count, MSG_DONTWAIT, NULL);
    if (received < 0)
        return -errno;
    for (int i = 0; i < received; i++) {
        uint32_t total = messages[i].msg_len;
        frames[i].length = total > sizeof frames[i].offload ? total - sizeof frames[i].offload : 0;
        frames[i].truncated = (messages[i].msg_hdr.msg_flags & MSG_TRUNC) != 0;
        for (struct cmsghdr *c = CMSG_FIRSTHDR(&messages[i].msg_hdr); c; c = CMSG_NXTHDR(&messages[i].msg_hdr, c))
            if (c->cmsg_level == SOL_PACKET && c->cmsg_type == PACKET_AUXDATA)
                restore_vlan_tag(&frames[i], (struct tpacket_auxdata *)CMSG_DATA(c));
    }
    return received;
}
