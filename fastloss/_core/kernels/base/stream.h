/* Stores that go past the caches, for which plain C has no word. */
#ifndef FASTLOSS_STREAM_H
#define FASTLOSS_STREAM_H

#include <stddef.h>
#include <string.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* Copy a few results that the kernel does not read again. A usual store first reads the line of the cache that it
 * changes, and evicts another. Few at a time: the processor computes the next while these are on their way. */
static inline __attribute__((always_inline)) void fastloss_stream(void *to, const void *from, size_t bytes) {
    char *target = (char *)to;
    const char *source = (const char *)from;
    size_t done = 0;
#ifdef __SSE2__
    if (((size_t)target & 15) == 0)
        for (; done + 16 <= bytes; done += 16)
            _mm_stream_si128((__m128i *)(target + done), _mm_loadu_si128((const __m128i *)(source + done)));
#endif
    memcpy(target + done, source + done, bytes - done);
}

/* Other threads see what was streamed before they see what is stored after this. */
static inline __attribute__((always_inline)) void fastloss_end_stream(void) {
#ifdef __SSE2__
    _mm_sfence();
#endif
}

#endif
