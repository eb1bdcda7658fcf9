/* The order of an epoch's rows. */
#include "nnc.h"

/* The numbers of SplitMix64 (Steele, Lea and Flood 2014). */
static uint64_t mixed(uint64_t z) {
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

/* floor(z n / 2^64), so that z becomes a number below n (Lemire 2019); some are drawn more often
 * than others, by n / 2^64 of what they should. */
static uint64_t scaled(uint64_t z, uint64_t n) {
    if (n > UINT32_MAX) return z % n; /* rows that no memory holds */
    return ((z >> 32) * n + ((z & UINT32_MAX) * n >> 32)) >> 32;
}

/* Fisher and Yates' shuffle, from the front. */
void nnc_shuffle(ptrdiff_t n, uint64_t key, int64_t *order) {
    for (ptrdiff_t i = 0; i < n; i++) {
        key += UINT64_C(0x9E3779B97F4A7C15);
        const ptrdiff_t j = (ptrdiff_t)scaled(mixed(key), (uint64_t)i + 1);
        order[i] = i;
        order[i] = order[j];
        order[j] = i;
    }
}
