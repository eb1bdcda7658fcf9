/* What all parts of the C tests use: buffers that notice overruns, data, comparisons, counting.
 *
 * Tests run in groups; one line is printed for each. A failed check prints where it happened and
 * the group goes on. */
#ifndef TESTING_H
#define TESTING_H

#include <float.h>
#include <stddef.h>
#include <stdint.h>

#include "nnc.h"

#if defined(__SANITIZE_ADDRESS__)
#define UNDER_ASAN 1
#elif defined(__SANITIZE_THREAD__)
#define UNDER_TSAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define UNDER_ASAN 1
#elif __has_feature(thread_sanitizer)
#define UNDER_TSAN 1
#endif
#endif
#ifndef UNDER_ASAN
#define UNDER_ASAN 0
#endif
#ifndef UNDER_TSAN
#define UNDER_TSAN 0
#endif
#define SANITIZED (UNDER_ASAN || UNDER_TSAN)

/* What expected values are computed in. Where long double is emulated, double: its own rounding is
 * part of every bound. */
#if LDBL_MANT_DIG == 64
typedef long double wide;
#define W(f) f##l
#define WIDE_EPSILON LDBL_EPSILON
#else
typedef double wide;
#define W(f) f
#define WIDE_EPSILON DBL_EPSILON
#endif

/* Under qemu, the Makefile's word: forks are left out, since its own locks do not outlive one of
 * several threads, and so is what takes minutes there and is C that others run at full speed. */
#ifndef EMULATED
#define EMULATED 0
#endif

enum { MAX_ISAS = 8 };

/* ---- groups and checks ------------------------------------------------------------------ */

#if defined(__GNUC__)
#define LIKE_PRINTF(text, first) __attribute__((format(printf, text, first)))
#else
#define LIKE_PRINTF(text, first)
#endif

void group(const char *format, ...) LIKE_PRINTF(1, 2); /* ends the group before */
void where(const char *format, ...) LIKE_PRINTF(1, 2); /* what is tested now, for failures */
void check(int ok, const char *format, ...) LIKE_PRINTF(2, 3);
int finish(void); /* prints the totals; the program's exit status */

/* ---- buffers ------------------------------------------------------------------------------ */

/* Exactly `bytes` bytes, set to 0xFF, which are NaNs as real and so show when they are used.
 * Reading or writing behind them is a fault: an inaccessible page, or ASan. Writing before them
 * is noticed when they are released. */
void *fresh(size_t bytes);
void *fresh_aligned(size_t bytes);    /* to NNC_ALIGN; bytes is a multiple of it */
void *fresh_with_slack(size_t bytes); /* NNC_SLACK bytes behind may be read, and not changed */
int mark(void);
void release(int mark);              /* all since `mark`, checked */
void *zeroed(size_t n, size_t size); /* never NULL; free() it */
int is_untouched(const void *p, size_t bytes);

/* ---- numbers ------------------------------------------------------------------------------ */

extern const char *const type_names[NNC_N_DTYPES];
size_t size_of(nnc_dtype type);
wide epsilon_of(nnc_dtype type);  /* spacing at 1, and what `wide` adds to it */
wide smallest_of(nnc_dtype type); /* the smallest denormal number */

double get(nnc_dtype type, const void *p, ptrdiff_t i);
void put(nnc_dtype type, void *p, ptrdiff_t i, double value);
void *at(nnc_dtype type, const void *p, ptrdiff_t i);

uint64_t mixed(uint64_t seed, uint64_t i); /* well mixed bits */
double uniform(uint64_t seed, uint64_t i, double low, double high);
/* n uniform numbers with full mantissas; the same on every machine */
void fill(nnc_dtype type, void *p, ptrdiff_t n, uint64_t seed, double low, double high);

#define MIX_START 0xCBF29CE484222325u
uint64_t mix(uint64_t hash, const void *p, size_t bytes); /* FNV-1a */

/* ---- comparisons -------------------------------------------------------------------------- */

/* Index (row * n + column) of the first element that is not within its bound, or -1. */
ptrdiff_t first_outside(nnc_dtype type, ptrdiff_t rows, ptrdiff_t n, const void *got, ptrdiff_t ld,
                        const wide *expected, const wide *bound);
/* Index of the first element with other bits than `expected`, dense, or -1. */
ptrdiff_t first_different(nnc_dtype type, ptrdiff_t rows, ptrdiff_t n, const void *got,
                          ptrdiff_t ld, const void *expected);
/* Whether what lies between the rows of a fresh matrix is as it was. */
int gaps_untouched(nnc_dtype type, ptrdiff_t rows, ptrdiff_t n, const void *p, ptrdiff_t ld);

/* ---- polls -------------------------------------------------------------------------------- */

/* Asks to stop at its k-th call. */
typedef struct {
    int calls, stop_at;
} countdown;

int count_down(void *context);

/* ---- the kernels to test ------------------------------------------------------------------ */

/* All runnable tables of a type; fills `list`, returns how many. */
int runnable(nnc_dtype type, const nnc_kernels *list[MAX_ISAS]);
int is_fused(const nnc_kernels *k); /* promises the bits of all other fused ones */

void test_checkers(void);
void test_gemm(void);
void test_elementwise(void);
void test_losses(void);
void test_rows(void);
void test_updates(void);
void test_plan_check(void);
void test_networks(void);
void test_gradients(void);
void test_called_loss(void);
void test_missing(void);
void test_derivatives(void);
void test_landscape(void);
void test_long_products(void);
void test_poll(void);
void test_threads(void);
void test_steps(void);
void test_step_bits(void);
void test_step_threads(void);
void test_digests(void);
void print_digests(void);

#endif
