/* eBPF programs on the way in to an interface: bpf(2), linux/bpf.h. */
#define _GNU_SOURCE
#include "CLinux.h"
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <linux/bpf.h>

/* Linux 6.6; newer than the distribution's headers. */
#define CLX_BPF_TCX_INGRESS 46

static int call(int command, union bpf_attr *attributes)
{
    long result = syscall(SYS_bpf, command, attributes, sizeof *attributes);
    return result < 0 ? -errno : (int)result;
}

int clx_bpf_load(const uint64_t *instructions, unsigned count, char *log, unsigned log_bytes)
{
    union bpf_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    attributes.prog_type = BPF_PROG_TYPE_SCHED_CLS;
    attributes.insns = (uintptr_t)instructions;
    attributes.insn_cnt = count;
    attributes.license = (uintptr_t) "Dual MIT/GPL";
    memcpy(attributes.prog_name, "viaduct", sizeof "viaduct");
    int fd = call(BPF_PROG_LOAD, &attributes);
    if (fd < 0 && log_bytes > 0) {
        /* Once more, for what the verifier has to say. */
        attributes.log_buf = (uintptr_t)log;
        attributes.log_size = log_bytes;
        attributes.log_level = 1;
        fd = call(BPF_PROG_LOAD, &attributes);
    }
    return fd;
}

int clx_tcx_attach(int program, int interface_index)
{
    union bpf_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    attributes.link_create.prog_fd = program;
    attributes.link_create.target_ifindex = interface_index;
    attributes.link_create.attach_type = CLX_BPF_TCX_INGRESS;
    return call(BPF_LINK_CREATE, &attributes);
}

int clx_tcx_replace(int link, int program)
{
    union bpf_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    attributes.link_update.link_fd = link;
    attributes.link_update.new_prog_fd = program;
    return call(BPF_LINK_UPDATE, &attributes);
}

/* bpf_link_info up to the part for tcx; BPF_LINK_TYPE_TCX is 11. */
struct link_head {
    uint32_t type, id, program, pad;
    uint32_t interface_index, attach_type;
    uint32_t rest[16];
};

int clx_tcx_interface(int link)
{
    struct link_head head;
    union bpf_attr attributes;
    memset(&head, 0, sizeof head);
    memset(&attributes, 0, sizeof attributes);
    attributes.info.bpf_fd = link;
    attributes.info.info_len = sizeof head;
    attributes.info.info = (uintptr_t)&head;
    int result = call(BPF_OBJ_GET_INFO_BY_FD, &attributes);
    if (result < 0)
        return result;
    return head.type == 11 && head.attach_type == CLX_BPF_TCX_INGRESS ? (int)head.interface_index : -EINVAL;
}
