/* What the calling thread may do beyond an ordinary one: capabilities(7), no_new_privs. */
#define _GNU_SOURCE
#include "CLinux.h"
#include <errno.h>
#include <unistd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <linux/capability.h>

static int get(struct __user_cap_data_struct data[2])
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    return syscall(SYS_capget, &header, data) < 0 ? -errno : 0;
}

int clx_capabilities(uint64_t *effective)
{
    struct __user_cap_data_struct data[2] = {{0}};
    int error = get(data);
    *effective = (uint64_t)data[1].effective << 32 | data[0].effective;
    return error;
}

int clx_capabilities_keep(uint64_t kept)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {{0}};
    int error = get(data);
    if (error < 0)
        return error;
    /* First, as it takes CAP_SETPCAP. Who has not got that stays bound as before: no_new_privs makes the rest of the
     * bounding set worthless. */
    for (int number = 0; prctl(PR_CAPBSET_READ, number, 0, 0, 0) >= 0; number++)
        if (!(kept >> number & 1))
            (void)prctl(PR_CAPBSET_DROP, number, 0, 0, 0);
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return -errno;
    for (int word = 0; word < 2; word++) {
        data[word].permitted &= (uint32_t)(kept >> 32 * word);
        data[word].effective = data[word].permitted;
        data[word].inheritable = 0;
    }
    return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}

int clx_capabilities_pass_on(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {{0}};
    int error = get(data);
    if (error < 0)
        return error;
    for (int word = 0; word < 2; word++)
        data[word].inheritable = data[word].permitted;
    if (syscall(SYS_capset, &header, data) < 0)
        return -errno;
    for (int number = 0; number < 64; number++)
        if (data[number / 32].permitted >> number % 32 & 1
            && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, number, 0, 0) < 0)
            return -errno;
    return 0;
}
