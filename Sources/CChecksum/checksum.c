#include "CChecksum.h"
#include <string.h>

/* Eight 64-bit lanes: one AVX-512 register, two of AVX2, four of SSE2. Each lane adds 32-bit halves, so that
 * no carry is lost before 2^32 turns. */
typedef uint64_t lanes __attribute__((vector_size(64)));

/* The loader asks which one before a sanitizer's runtime is there, which instruments the answer. */
#if defined(__x86_64__) && !__has_feature(thread_sanitizer)
__attribute__((target_clones("arch=x86-64-v4", "avx2", "default")))
#endif
uint64_t ccs_sum(const void *base, size_t count)
{
    const unsigned char *bytes = base;
    lanes low0 = {0}, high0 = {0}, low1 = {0}, high1 = {0};
    size_t i = 0;
    for (; i + 128 <= count; i += 128) {
        lanes first, second;
        memcpy(&first, bytes + i, sizeof first);
        memcpy(&second, bytes + i + 64, sizeof second);
        low0 += first & 0xffffffff;
        high0 += first >> 32;
        low1 += second & 0xffffffff;
        high1 += second >> 32;
    }
    low0 += high0 + low1 + high1;
    uint64_t sum = 0;
    for (int lane = 0; lane < 8; lane++)
        sum += low0[lane];
    uint32_t word;
    for (; i + sizeof word <= count; i += sizeof word) {
        memcpy(&word, bytes + i, sizeof word);
        sum += word;
    }
    if (i < count) {
        word = 0;
        memcpy(&word, bytes + i, count - i);
        sum += word;
    }
    return (sum & 0xffffffff) + (sum >> 32);
}
