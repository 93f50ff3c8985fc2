/* What a network device says of itself by the calls of ethtool(8), whether the clock is disciplined, and
 * what file system a path is on. */
#define _GNU_SOURCE
#include "CLinux.h"
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/timex.h>
#include <sys/vfs.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>

/* More features than any kernel has: 60-odd today. */
enum { FEATURES = 256 };

static int ask(int fd, const char *interface, void *command)
{
    struct ifreq request = {.ifr_data = command};
    strncpy(request.ifr_name, interface, IFNAMSIZ - 1);
    return ioctl(fd, SIOCETHTOOL, &request) < 0 ? -errno : 0;
}

static int feature(int fd, const char *interface, const char *name)
{
    /* Each is a head with an array behind it. */
    union {
        struct ethtool_sset_info head;
        uint32_t words[sizeof(struct ethtool_sset_info) / 4 + 1];
    } sets = {.head = {.cmd = ETHTOOL_GSSET_INFO, .sset_mask = 1ULL << ETH_SS_FEATURES}};
    union {
        struct ethtool_gstrings head;
        char bytes[sizeof(struct ethtool_gstrings) + FEATURES * ETH_GSTRING_LEN];
    } strings = {.head = {.cmd = ETHTOOL_GSTRINGS, .string_set = ETH_SS_FEATURES}};
    union {
        struct ethtool_gfeatures head;
        char bytes[sizeof(struct ethtool_gfeatures) + FEATURES / 32 * sizeof(struct ethtool_get_features_block)];
    } features = {.head = {.cmd = ETHTOOL_GFEATURES, .size = FEATURES / 32}};
    int error = ask(fd, interface, &sets);
    if (error < 0)
        return error;
    uint32_t count = sets.head.data[0];
    /* The kernel writes as many names as it has, whatever it is told. */
    if (sets.head.sset_mask == 0 || count > FEATURES)
        return -EOPNOTSUPP;
    strings.head.len = count;
    if ((error = ask(fd, interface, &strings)) < 0 || (error = ask(fd, interface, &features)) < 0)
        return error;
    for (uint32_t i = 0; i < count; i++)
        if (strncmp((const char *)strings.head.data + i * ETH_GSTRING_LEN, name, ETH_GSTRING_LEN) == 0)
            return features.head.features[i / 32].active >> (i % 32) & 1;
    return -ENOENT;
}

int clx_device_feature(const char *interface, const char *name)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int answer = feature(fd, interface, name);
    close(fd);
    return answer;
}

int clx_clock_is_synchronized(void)
{
    struct timex clock = {.modes = 0};
    if (adjtimex(&clock) < 0)
        return -errno;
    return !(clock.status & STA_UNSYNC);
}

int clx_file_system(const char *path, uint32_t *type, uint64_t *free_bytes)
{
    struct statfs system;
    if (statfs(path, &system) < 0)
        return -errno;
    *type = (uint32_t)system.f_type;
    *free_bytes = (uint64_t)system.f_bavail * (uint64_t)system.f_bsize;
    return 0;
}
