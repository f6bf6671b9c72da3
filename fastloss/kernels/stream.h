/* A copy that goes past the caches, where the compiler has no plain loop for it. */
#ifndef FASTLOSS_STREAM_H
#define FASTLOSS_STREAM_H

#include <stddef.h>
#include <string.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* Copy bytes that nobody reads soon: a usual store reads the line of the cache that it changes first, and evicts another.
 * As memory has nothing to read meanwhile, it is asked for as many bytes from two places that are read next. */
static inline void fastloss_stream(
    void *to, const void *from, size_t bytes, const void *next, const void *other
) {
    char *target = to;
    const char *source = from;
    size_t done = 0;
#ifdef __SSE2__
    done = -(size_t)target & 63;
    done = done < bytes ? done : bytes;
    memcpy(target, source, done);
    for (; done + 64 <= bytes; done += 64) {
        __builtin_prefetch((const char *)next + done);
        __builtin_prefetch((const char *)other + done);
        for (size_t k = done; k < done + 64; k += 16)
            _mm_stream_si128((__m128i *)(target + k), _mm_loadu_si128((const __m128i *)(source + k)));
    }
#endif
    memcpy(target + done, source + done, bytes - done);
}

/* Other threads see what was streamed before they see what is stored after this. */
static inline void fastloss_end_stream(void) {
#ifdef __SSE2__
    _mm_sfence();
#endif
}

#endif
