/* CPUID says what the processor has, XCR0 what the operating system saves when it switches
 * threads: both must agree before a register may be used. */
#include "cpu.h"

#if defined(__x86_64__)
#include <cpuid.h>

static unsigned long long xcr0(void) {
    unsigned eax, edx;
    __asm__ volatile("xgetbv" : "=a"(eax), "=d"(edx) : "c"(0));
    return (unsigned long long)edx << 32 | eax;
}

/* The operating system has enabled XGETBV and saves all of `state`. */
static int os_saves(unsigned long long state) {
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE)) return 0;
    return (xcr0() & state) == state;
}

int nnc_cpu_has_avx2_fma(void) {
    unsigned a, b, c, d;
    if (!os_saves(0x6) || !__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_FMA)) return 0;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_AVX2);
}

int nnc_cpu_has_avx512(void) {
    const unsigned needed = bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL;
    unsigned a, b, c, d;
    if (!os_saves(0xe6) || !nnc_cpu_has_avx2_fma()) return 0;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & needed) == needed;
}
#else
int nnc_cpu_has_avx2_fma(void) { return 0; }
int nnc_cpu_has_avx512(void) { return 0; }
#endif

int nnc_cpu_has_neon(void) {
#if defined(__aarch64__)
    return 1; /* part of the architecture */
#else
    return 0;
#endif
}
