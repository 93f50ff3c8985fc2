/*
 * Descriptors 0, 1 and 2, before anything else of the process runs: one that was started with some of them closed
 * would give their numbers to what it opens first, be it an epoll or a state file, and write its log there.
 */
#include <fcntl.h>
#include <unistd.h>

__attribute__((constructor)) static void keep_standard_descriptors(void)
{
    int fd;
    while ((fd = open("/dev/null", O_RDWR)) >= 0 && fd <= 2)
        ;
    if (fd > 2) close(fd);
}
