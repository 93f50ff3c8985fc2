/* UDP load for the benchmark, from one guest to another; compiled by measurements.py.

     load echo PORT                        answers every datagram, until it is ended
     load ping ADDRESS PORT MS BYTES       one datagram at a time; prints answers lost p50 p99 (nanoseconds there and
                                           back)
     load pace ADDRESS PORT MS BYTES NS    a datagram every NS nanoseconds, with the time in it; sleeps between them
                                           when there is time to, else spins; prints datagrams
     load arrive PORT                      receives those until nothing has come for 300 ms; prints datagrams p50 p99
                                           (nanoseconds from before they were sent to after they were received)
     load sink PORT                        receives until nothing has come for 300 ms; prints datagrams nanoseconds
     load flood ADDRESS PORT MS BYTES      sends as fast as it can, by FLOWS source ports; prints datagrams
                                           nanoseconds
*/
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum { BATCH = 64, FLOWS = 4, BUFFER = 8 << 20, PAYLOAD = 2048, SAMPLES = 1 << 21, SPIN_NS = 100000 };

static int64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static int udp_socket(int timeout_ms) {
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), size = BUFFER;
    struct timeval timeout = {timeout_ms / 1000, timeout_ms % 1000 * 1000};
    if (fd < 0) fail("socket");
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size)) fail("SO_RCVBUFFORCE");
    if (timeout_ms && setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout)) fail("SO_RCVTIMEO");
    return fd;
}

static struct sockaddr_in address(const char *text, const char *port) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
    if (text && inet_pton(AF_INET, text, &a.sin_addr) != 1) fail(text);
    return a;
}

static int server(const char *port, int timeout_ms) {
    struct sockaddr_in here = address(NULL, port);
    int fd = udp_socket(timeout_ms);
    if (bind(fd, (struct sockaddr *)&here, sizeof here)) fail("bind");
    return fd;
}

static int client(const char *text, const char *port) {
    struct sockaddr_in there = address(text, port);
    int fd = udp_socket(100);
    if (connect(fd, (struct sockaddr *)&there, sizeof there)) fail("connect");
    return fd;
}

static void echo(const char *port) {
    int fd = server(port, 0);
    char bytes[PAYLOAD];
    for (;;) {
        struct sockaddr_in peer;
        socklen_t length = sizeof peer;
        ssize_t count = recvfrom(fd, bytes, sizeof bytes, 0, (struct sockaddr *)&peer, &length);
        if (count >= 0) sendto(fd, bytes, (size_t)count, 0, (struct sockaddr *)&peer, length);
    }
}

static int compare(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static void ping(const char *text, const char *port, int ms, size_t size) {
    static uint32_t samples[SAMPLES];
    char out[PAYLOAD] = {0}, in[PAYLOAD];
    int fd = client(text, port);
    size_t count = 0, lost = 0;
    uint32_t number = 0;
    for (int64_t end = now() + ms * INT64_C(1000000), start; (start = now()) < end && count < SAMPLES;) {
        memcpy(out, &number, sizeof number);
        if (send(fd, out, size, 0) < 0) fail("send");
        ssize_t got;
        do got = recv(fd, in, sizeof in, 0);
        while (got >= 0 && memcmp(in, &number, sizeof number)); /* a late answer to one given up */
        if (got < 0) lost++;
        else samples[count++] = (uint32_t)(now() - start);
        number++;
    }
    if (!count) fail("no answers");
    qsort(samples, count, sizeof samples[0], compare);
    printf("%zu %zu %u %u\n", count, lost, samples[count / 2], samples[count * 99 / 100]);
}

/* Both ends read one clock: the namespaces of a machine have the same CLOCK_MONOTONIC. */
static void pace(const char *text, const char *port, int ms, size_t size, int64_t interval) {
    char out[PAYLOAD] = {0};
    int fd = client(text, port);
    uint64_t total = 0;
    for (int64_t due = now(), end = due + ms * INT64_C(1000000); due < end; due += interval, total++) {
        struct timespec t = {due / 1000000000, due % 1000000000};
        if (interval > SPIN_NS) clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
        int64_t sent;
        while ((sent = now()) < due) {}
        memcpy(out, &sent, sizeof sent);
        if (send(fd, out, size, 0) < 0 && errno != ENOBUFS && errno != ECONNREFUSED) fail("send");
    }
    printf("%llu\n", (unsigned long long)total);
}

static void arrive(const char *port) {
    static uint32_t samples[SAMPLES];
    char in[PAYLOAD];
    int fd = server(port, 300);
    size_t count = 0;
    while (count < SAMPLES) {
        ssize_t got = recv(fd, in, sizeof in, 0);
        int64_t sent, received = now();
        if (got < 0 && count) break;
        if (got < (ssize_t)sizeof sent) continue; /* nothing yet */
        memcpy(&sent, in, sizeof sent);
        samples[count++] = received - sent > UINT32_MAX ? UINT32_MAX : (uint32_t)(received - sent);
    }
    qsort(samples, count, sizeof samples[0], compare);
    printf("%zu %u %u\n", count, samples[count / 2], samples[count * 99 / 100]);
}

static void fill(struct mmsghdr *messages, struct iovec *parts, char *bytes, size_t size, size_t stride) {
    memset(messages, 0, BATCH * sizeof *messages);
    for (int i = 0; i < BATCH; i++) {
        parts[i] = (struct iovec){bytes + (size_t)i * stride, size};
        messages[i].msg_hdr.msg_iov = &parts[i];
        messages[i].msg_hdr.msg_iovlen = 1;
    }
}

static void sink(const char *port) {
    static char bytes[BATCH * PAYLOAD];
    struct mmsghdr messages[BATCH];
    struct iovec parts[BATCH];
    int fd = server(port, 300);
    uint64_t total = 0;
    int64_t first = 0, last = 0;
    fill(messages, parts, bytes, PAYLOAD, PAYLOAD);
    for (;;) {
        int count = recvmmsg(fd, messages, BATCH, MSG_WAITFORONE, NULL);
        if (count < 0 && total) break;
        if (count < 0) continue; /* nothing yet */
        last = now();
        if (!total) first = last;
        total += (uint64_t)count;
    }
    printf("%llu %lld\n", (unsigned long long)total, (long long)(last - first));
}

static void flood(const char *text, const char *port, int ms, size_t size) {
    static char bytes[PAYLOAD];
    struct mmsghdr messages[BATCH];
    struct iovec parts[BATCH];
    int fds[FLOWS];
    uint64_t total = 0;
    for (int i = 0; i < FLOWS; i++) fds[i] = client(text, port);
    fill(messages, parts, bytes, size, 0);
    int64_t start = now(), end = start + ms * INT64_C(1000000);
    for (unsigned turn = 0; now() < end; turn++) {
        int count = sendmmsg(fds[turn % FLOWS], messages, BATCH, 0);
        if (count > 0) total += (uint64_t)count;
        else if (errno != ENOBUFS && errno != EAGAIN && errno != ECONNREFUSED) fail("sendmmsg");
    }
    printf("%llu %lld\n", (unsigned long long)total, (long long)(now() - start));
}

int main(int count, char **words) {
    const char *verb = count > 2 ? words[1] : "";
    if (!strcmp(verb, "echo")) echo(words[2]);
    else if (!strcmp(verb, "sink")) sink(words[2]);
    else if (!strcmp(verb, "ping") && count == 6) ping(words[2], words[3], atoi(words[4]), (size_t)atoi(words[5]));
    else if (!strcmp(verb, "flood") && count == 6) flood(words[2], words[3], atoi(words[4]), (size_t)atoi(words[5]));
    else if (!strcmp(verb, "arrive")) arrive(words[2]);
    else if (!strcmp(verb, "pace") && count == 7)
        pace(words[2], words[3], atoi(words[4]), (size_t)atoi(words[5]), atoll(words[6]));
    else return fputs("usage: load echo|sink|arrive PORT, load ping|flood ADDRESS PORT MS BYTES, "
                      "load pace ADDRESS PORT MS BYTES NS\n", stderr), 64;
    return 0;
}
