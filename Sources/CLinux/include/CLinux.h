/*
 * CLinux: the system calls Swift cannot spell (variadic ioctls, control messages, batched socket
 * calls, clones of UAPI newer than the distribution's headers). Every function returns >= 0, or
 * -errno. No state, no policy, no allocation: buffers and descriptors belong to the caller.
 */
#ifndef CLINUX_H
#define CLINUX_H

#include <stdint.h>
#include <stddef.h>
#include <sys/uio.h>
#include <linux/rtnetlink.h>
#include <linux/if_link.h>
#include <linux/if_addr.h>
#include <linux/virtio_net.h>

/* ---- UAPI newer than Debian 12's headers (linux/if_tun.h, linux/virtio_net.h of Linux 6.18) ---- */
enum {
    CLX_TUN_F_CSUM = 0x01,
    CLX_TUN_F_TSO4 = 0x02,
    CLX_TUN_F_TSO6 = 0x04,
    CLX_TUN_F_TSO_ECN = 0x08,
    CLX_TUN_F_USO4 = 0x20, /* Linux 6.2; only together with USO6 */
    CLX_TUN_F_USO6 = 0x40,
    CLX_TUN_F_UDP_TUNNEL_GSO = 0x080, /* Linux 6.17 */
    CLX_TUN_F_UDP_TUNNEL_GSO_CSUM = 0x100,
    CLX_VIRTIO_NET_HDR_GSO_UDP_L4 = 5,
    CLX_VIRTIO_NET_HDR_GSO_UDP_TUNNEL_IPV4 = 0x20,
    CLX_VIRTIO_NET_HDR_GSO_UDP_TUNNEL_IPV6 = 0x40,
    CLX_VIRTIO_NET_HDR_F_UDP_TUNNEL_CSUM = 8,
};

/* The 10-byte virtio-net header every TAP and packet socket here speaks, little- = host-endian. */
struct clx_vnet_header {
    uint8_t flags;
    uint8_t gso_type;
    uint16_t header_length;
    uint16_t gso_size;
    uint16_t checksum_start;
    uint16_t checksum_offset;
};
_Static_assert(sizeof(struct clx_vnet_header) == 10, "linux/virtio_net.h: virtio_net_hdr is 10 bytes");

/* The 24-byte one an uplink's TAP speaks (virtio_net_hdr_v1_hash_tunnel): it can say of a superframe that it is
 * inside a UDP tunnel. Offsets are from the start of the frame. */
struct clx_tunnel_header {
    struct clx_vnet_header base;
    uint16_t buffer_count;
    uint32_t hash_value;
    uint16_t hash_report;
    uint16_t padding;
    uint16_t outer_transport_offset;
    uint16_t inner_network_offset;
};
_Static_assert(sizeof(struct clx_tunnel_header) == 24, "linux/virtio_net.h: virtio_net_hdr_v1_hash_tunnel");

/* An IP address and UDP port. family is AF_INET or AF_INET6; IPv4 uses address[0..3]. */
struct clx_endpoint {
    uint16_t family;
    uint16_t port; /* host order */
    uint8_t address[16];
};

/* ---- capabilities of the calling thread, as a bit each (linux/capability.h) ---- */
int clx_capabilities(uint64_t *effective);
/* Gives up all others for good, and whatever an executed program could gain. */
int clx_capabilities_keep(uint64_t kept);
/* Has a program that the thread executes have what it has itself. */
int clx_capabilities_pass_on(void);

/* ---- TAP ---- */
/* Creates a TAP with a virtio-net header in the calling thread's network namespace.
 * offloads: CLX_TUN_F_*. -EBUSY: the name is held by another process; -EEXIST: an interface
 * of that name which is no TAP of ours exists. */
int clx_tap_open(const char *name, unsigned offloads);
/* The same with queues: this is the first, clx_tap_join opens each of the others, by the interface's name and
 * where it was created. Each descriptor reads and writes a queue of its own. */
int clx_tap_open_queues(const char *name, unsigned offloads);
int clx_tap_join(const char *name);
/* Attaches to a persistent TAP that is there: kept (clx_tap_keep), or made for this user. -EPERM: for another; -EINVAL:
 * no TAP, or without queues that `more_queues` asks for; -EBUSY: somebody has it; -ENODEV: it does not persist. */
int clx_tap_attach(const char *name, unsigned offloads, int more_queues);
/* Has the TAP outlive its descriptors, or end with them as usual. */
int clx_tap_keep(int fd, int on);
/* 1 when the TAP has queues, 0 when not, -EINVAL when it is no TAP with a virtio-net header. */
int clx_tap_queues(int fd);
/* A descriptor of the network namespace that the TAP is in now. */
int clx_tap_namespace(int fd);
/* A descriptor of the one it was opened in, which the TAP's descriptor keeps. */
int clx_tap_birthplace(int fd);
/* Says anew what the TAP's other end, we, can take: CLX_TUN_F_*. -EINVAL: the kernel knows one of them not. */
int clx_tap_set_offloads(int fd, unsigned offloads);
/* Name of the interface behind a TAP descriptor now, wherever it has been renamed to. */
int clx_tap_name(int fd, char name[16]);

/* An uplink: a TAP with the 24-byte header, which takes and gives superframes in UDP tunnels. `more_queues`: others
 * will join with clx_uplink_join. -EINVAL: the kernel does not know such superframes (before Linux 6.17). */
int clx_uplink_open(const char *name, unsigned offloads, int more_queues);
int clx_uplink_join(const char *name);

/* ---- packet socket ---- */
/* Attaches to an interface: raw frames both ways with virtio-net headers, promiscuous, own
 * transmissions not echoed. The kernel undoes all of it when the descriptor closes. */
int clx_packet_open(int interface_index);

/* One received or to-be-received raw frame. The buffer must have 4 spare bytes before `data`:
 * the kernel strips an outer VLAN tag into a control message and this call puts it back. */
struct clx_raw_frame {
    void *data;
    uint32_t capacity;
    uint32_t length;
    uint32_t truncated;
    struct clx_vnet_header offload;
};
int clx_packet_receive(int fd, struct clx_raw_frame *frames, unsigned count);
/* Index of the interface a packet socket is bound to. */
int clx_packet_interface(int fd);
/* A packet socket that only sends: raw frames with virtio-net headers, by one interface. */
int clx_packet_open_sender(int interface_index, int buffer_bytes);

/* Longest frame a neighbour socket gives; what is longer is cut. */
enum { CLX_NEIGHBOR_FRAME = 2048 };
/* Hears, of one EtherType (host order) on an interface, what is about neighbours or packets that did not arrive: ARP;
 * ICMPv6 neighbour solicitations, advertisements and "packet too big"; ICMP "destination unreachable". Only untagged
 * frames to this host, a group or all. Sends any frame. Bound to one EtherType it costs nothing for what is sent, nor
 * for what tc has redirected. */
int clx_neighbor_open(int interface_index, uint16_t ether_type);

/* ---- UDP ---- */
enum {
    CLX_UDP_RECEIVER = 1,    /* binds for reception: address, port, TOS and drop reports on */
    CLX_UDP_NO_CHECKSUM = 2, /* sends with a zero UDP checksum */
    CLX_UDP_DO_NOT_FRAGMENT = 4, /* DF set, path MTU honoured; without it DF clear, still no fragments */
    CLX_UDP_TRAINS = 8,      /* receives equal-sized datagrams of a flow as one train (UDP_GRO) */
    CLX_UDP_JOIN = 16,       /* shares the port of a socket that has said clx_udp_share */
};
/* Port 0 lets the kernel choose. Never shares a port unasked: -EADDRINUSE when somebody has it. */
int clx_udp_open(const struct clx_endpoint *local, unsigned flags, int buffer_bytes);
/* Lets further sockets of this user join the port (SO_REUSEPORT): the kernel gives each datagram to one of them
 * by a hash of its addresses and ports. */
int clx_udp_share(int fd);
int clx_udp_port(int fd);
/* AF_INET or AF_INET6 of a UDP socket; -EINVAL for another kind of socket. */
int clx_udp_family(int fd);
/* Datagrams this socket had to drop (full buffer, bad checksum) since it was opened. */
int64_t clx_socket_drops(int fd);
/* MTU of the route to `remote` (with `local` as source when its family is non-zero), bytes. */
int clx_route_mtu(const struct clx_endpoint *remote, const struct clx_endpoint *local);
struct clx_datagram {
    void *data;
    uint32_t capacity;
    uint32_t length;
    uint32_t truncated;
    uint32_t segment; /* bytes of each datagram of a train, the last may have fewer; 0: no train */
    uint32_t tos; /* outer TOS or traffic class */
    struct clx_endpoint source;
    struct clx_endpoint destination; /* family 0 when the kernel did not say */
};
int clx_udp_receive(int fd, struct clx_datagram *datagrams, unsigned count);

/* Most datagrams one message may be cut into: UDP_MAX_SEGMENTS before Linux 6.9, UDP_GRO's limit since. */
enum { CLX_UDP_SEGMENTS = 64 };
/* One datagram, or `segment` > 0 and several of that many bytes each (the last may have fewer), cut by the
 * kernel (UDP_SEGMENT). All of it leaves, or nothing. */
struct clx_message {
    const struct iovec *parts;
    uint32_t part_count;
    uint32_t segment;
    struct clx_endpoint destination;
    struct clx_endpoint source; /* family 0: the route decides */
    uint8_t tos;
    uint8_t ttl; /* 0: the socket's default */
};
/* Sends in order; returns how many went out, or -errno of the first when none did. */
int clx_udp_send(int fd, const struct clx_message *messages, unsigned count);

/* ---- ICMP ---- */
/* A raw socket that takes echo replies and "too big" of a family in (IPv4: with the IP header before them), and
 * sends echo requests with DF, as large as the interface takes, whatever path MTU the kernel has learned. For
 * clx_udp_send and clx_udp_receive, without ports. The kernel writes the checksum of ICMPv6. */
int clx_icmp_open(int family);

/* ---- events ---- */
enum { CLX_EPOLL_IN = 1, CLX_EPOLL_ERR = 8, CLX_EPOLL_HUP = 16 };
struct clx_event {
    uint32_t events;
    uint64_t token;
};
int clx_epoll_create(void);
int clx_epoll_add(int epoll, int fd, uint64_t token);
int clx_epoll_remove(int epoll, int fd);
int clx_epoll_wait(int epoll, struct clx_event *events, int count, int timeout_ms);
int clx_eventfd_create(void);
int clx_eventfd_signal(int fd);
int clx_eventfd_drain(int fd);

/* ---- eBPF on the way in to an interface (linux/bpf.h; tcx links: Linux 6.6) ---- */
/* Loads a program of BPF_PROG_TYPE_SCHED_CLS; -EACCES and -EINVAL leave the verifier's words in `log`. */
int clx_bpf_load(const uint64_t *instructions, unsigned count, char *log, unsigned log_bytes);
/* Runs it for all that comes in by an interface, until the descriptor that is returned is closed. */
int clx_tcx_attach(int program, int interface_index);
/* Has a link run another program, from one packet to the next. */
int clx_tcx_replace(int link, int program);
/* Index of the interface that a link is attached to. */
int clx_tcx_interface(int link);

/* ---- netlink, namespaces, threads, files ---- */
int clx_netlink_open(uint32_t groups);
/* Moves the calling thread into the network namespace behind fd. */
int clx_enter_network_namespace(int fd);
/* Gives the calling thread an empty network namespace of its own; it goes with the thread. */
int clx_leave_network_namespace(void);
int clx_name_thread(const char *name);
/* Opens for reading, close-on-exec. */
int clx_open_read(const char *path);
/* Opens or creates a file and takes an exclusive lock; -EWOULDBLOCK when another process holds it. */
int clx_lock_file(const char *path);
int clx_close_on_exec(int fd, int on);
/* The same of all descriptors from `first` on. */
int clx_close_all_on_exec(int first);
/* A file in memory with these bytes. */
int clx_memory_file(const char *name, const void *bytes, size_t count);
/* execve(2), with SIGTERM, SIGINT and SIGHUP held back until the next program wants to hear of them, and no other
 * signal. Returns only when it fails. */
int clx_exec(const char *path, char *const arguments[], char *const environment[]);
enum { CLX_DESCRIPTORS_PER_MESSAGE = 250 };
struct sockaddr;
/* A datagram of text and descriptors to a Unix socket (unix(7), SCM_RIGHTS). */
int clx_send_descriptors(int socket, const struct sockaddr *name, unsigned name_bytes, const char *text,
                         const int *descriptors, unsigned count);
uint64_t clx_monotonic_ms(void);
uint64_t clx_monotonic_ns(void);
/* Since 1970. */
uint64_t clx_real_ns(void);
/* CPU time of the calling thread. */
uint64_t clx_thread_cpu_ns(void);
/* Gives the heap's free pages back to the kernel; 1 when there were any. */
int clx_trim_heap(void);
/* How many heaps threads share from now on, and what each keeps at its end, in bytes: mallopt(3). 0 when it failed. */
int clx_tune_heap(int count, int kept);
/* Whether a feature of an interface (a name of `ethtool -k`) is on: 1 or 0; -ENOENT: it has none of that name. */
int clx_device_feature(const char *interface, const char *name);
/* Whether something disciplines the system's clock: 1 or 0. */
int clx_clock_is_synchronized(void);
/* The magic number of the file system a path is on (linux/magic.h), and the bytes others than root may still have. */
int clx_file_system(const char *path, uint32_t *type, uint64_t *free_bytes);
/* "ENODEV" for ENODEV; NULL for a number without a name. */
const char *clx_errno_name(int code);

#endif
