/* Sockets that hear of neighbours and of packets that did not arrive: linux/if_packet.h, linux/filter.h. */
#define _GNU_SOURCE
#include "CLinux.h"
#include <errno.h>
#include <unistd.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>

#define LOAD(size, offset) BPF_STMT(BPF_LD | (size) | BPF_ABS, (offset))
#define IS(value, yes, no) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (value), (yes), (no))

/* Jumps count from the next line on; 21 keeps, 22 drops. */
static struct sock_filter filter[] = {
    /*  0 */ LOAD(BPF_W, SKF_AD_OFF + SKF_AD_PKTTYPE), /* not to others, nor from here */
    /*  1 */ BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, PACKET_MULTICAST, 20, 0),
    /*  2 */ LOAD(BPF_W, SKF_AD_OFF + SKF_AD_VLAN_TAG_PRESENT), /* another link */
    /*  3 */ IS(0, 0, 18),
    /*  4 */ LOAD(BPF_H, 12),
    /*  5 */ IS(ETH_P_ARP, 15, 0),
    /*  6 */ IS(ETH_P_IPV6, 0, 6),
    /*  7 */ LOAD(BPF_B, 14 + 6),
    /*  8 */ IS(IPPROTO_ICMPV6, 0, 13),
    /*  9 */ LOAD(BPF_B, 14 + 40),
    /* 10 */ IS(135, 10, 0), /* neighbour solicitation */
    /* 11 */ IS(136, 9, 0), /* neighbour advertisement */
    /* 12 */ IS(2, 8, 9), /* packet too big */
    /* 13 */ IS(ETH_P_IP, 0, 8),
    /* 14 */ LOAD(BPF_B, 14 + 9),
    /* 15 */ IS(IPPROTO_ICMP, 0, 6),
    /* 16 */ LOAD(BPF_H, 14 + 6),
    /* 17 */ BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 0x1fff, 4, 0), /* a later fragment */
    /* 18 */ BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, 14),
    /* 19 */ BPF_STMT(BPF_LD | BPF_B | BPF_IND, 14),
    /* 20 */ IS(3, 0, 1), /* destination unreachable */
    /* 21 */ BPF_STMT(BPF_RET | BPF_K, CLX_NEIGHBOR_FRAME),
    /* 22 */ BPF_STMT(BPF_RET | BPF_K, 0),
};

int clx_neighbor_open(int interface_index, uint16_t ether_type)
{
    struct sock_fprog program = {.len = sizeof filter / sizeof filter[0], .filter = filter};
    struct sockaddr_ll address = {
        .sll_family = AF_PACKET, .sll_protocol = htons(ether_type), .sll_ifindex = interface_index};
    /* Protocol 0 until bound: nothing comes in before the filter is there. */
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) < 0 ||
        bind(fd, (struct sockaddr *)&address, sizeof address) < 0) {
        int error = errno;
        close(fd);
        return -error;
    }
    return fd;
}
