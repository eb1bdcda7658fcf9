#if !defined(_GNU_SOURCE)
#define _GNU_SOURCE /* MAP_ANONYMOUS */
#endif
#include "testing.h"

#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---- groups and checks ------------------------------------------------------------------ */

static char group_name[200], place[400];
static long passed, failed, group_passed, group_failed;

static void end_group(void) {
    if (group_name[0]) {
        printf("%-44s %8ld checks%s\n", group_name, group_passed + group_failed,
               group_failed ? ", FAILED" : "");
        fflush(stdout);
    }
    passed += group_passed, failed += group_failed;
    group_passed = group_failed = 0;
    group_name[0] = place[0] = 0;
}

void group(const char *format, ...) {
    end_group();
    va_list values;
    va_start(values, format);
    vsnprintf(group_name, sizeof group_name, format, values);
    va_end(values);
}

void where(const char *format, ...) {
    va_list values;
    va_start(values, format);
    vsnprintf(place, sizeof place, format, values);
    va_end(values);
}

void check(int ok, const char *format, ...) {
    enum { SHOWN = 12 };
    if (ok) {
        group_passed++;
        return;
    }
    if (++group_failed > SHOWN) return;
    printf("FAILED %s: %s: ", group_name, place);
    va_list values;
    va_start(values, format);
    vprintf(format, values);
    va_end(values);
    printf("%s\n", group_failed == SHOWN ? " (more are counted, not shown)" : "");
}

int finish(void) {
    end_group();
    printf("%ld passed, %ld failed\n", passed, failed);
    return failed != 0;
}

/* ---- buffers ------------------------------------------------------------------------------ */

enum { MAX_BLOCKS = 32, CANARY_BYTES = 64, CANARY = 0xC3 };

typedef struct {
    unsigned char *p;
    size_t bytes, slack;
} block;

static block blocks[MAX_BLOCKS];
static int n_blocks;

/* Says where the tests were when memory outside a buffer was touched. */
static void say_place(void) {
    const char *const parts[] = {"\nTouched memory outside a buffer in ", group_name, ": ", place,
                                 "\n"};
    for (int i = 0; i < 5; i++)
        if (write(2, parts[i], strlen(parts[i])) < 0) return;
}

#if UNDER_ASAN
/* of the sanitizers' runtime */
void __sanitizer_set_death_callback(void (*callback)(void));
void __asan_poison_memory_region(const volatile void *p, size_t bytes);

static unsigned char *place_block(size_t bytes, int aligned) {
    __sanitizer_set_death_callback(say_place);
    unsigned char *p = aligned ? aligned_alloc(NNC_ALIGN, bytes) : malloc(bytes);
    if (bytes == 0) __asan_poison_memory_region(p, 1); /* malloc makes one byte of none */
    return p;
}
static int unplace_block(block b) {
    free(b.p);
    return 1;
}
#else
enum { ROOM = 1 << 27 }; /* pages that are never touched cost nothing */

static void on_fault(int number) {
    (void)number;
    say_place();
    _exit(1);
}

/* Each block lies at the end of its own room, before a page that cannot be touched. */
static unsigned char *place_block(size_t bytes, int aligned) {
    static unsigned char *rooms[MAX_BLOCKS];
    unsigned char **room = &rooms[n_blocks];
    if (aligned && bytes % NNC_ALIGN) abort();
    if (bytes + CANARY_BYTES > ROOM) abort();
    if (!*room) {
        const size_t page = (size_t)sysconf(_SC_PAGESIZE);
        *room = mmap(NULL, ROOM + page, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (*room == MAP_FAILED || mprotect(*room + ROOM, page, PROT_NONE)) abort();
        signal(SIGSEGV, on_fault);
        signal(SIGBUS, on_fault);
    }
    unsigned char *p = *room + ROOM - bytes;
    memset(p - CANARY_BYTES, CANARY, CANARY_BYTES);
    return p;
}
static int unplace_block(block b) {
    for (int i = 1; i <= CANARY_BYTES; i++)
        if (b.p[-i] != CANARY) return 0;
    return 1;
}
#endif

static void *new_block(size_t bytes, size_t slack, int aligned) {
    if (n_blocks == MAX_BLOCKS) abort();
    unsigned char *p = place_block(bytes + slack, aligned);
    if (!p) abort();
    memset(p, 0xFF, bytes + slack);
    blocks[n_blocks++] = (block){p, bytes, slack};
    return p;
}

void *fresh(size_t bytes) { return new_block(bytes, 0, 0); }
void *fresh_aligned(size_t bytes) { return new_block(bytes, 0, 1); }
void *fresh_with_slack(size_t bytes) { return new_block(bytes, NNC_SLACK, 0); }
int mark(void) { return n_blocks; }

void release(int to) {
    while (n_blocks > to) {
        const block b = blocks[--n_blocks];
        if (b.slack) check(is_untouched(b.p + b.bytes, b.slack), "the slack was written");
        check(unplace_block(b), "memory before a buffer of %zu bytes was written", b.bytes);
    }
}

void *zeroed(size_t n, size_t size) {
    void *p = calloc(n ? n : 1, size);
    if (!p) abort();
    return p;
}

int is_untouched(const void *p, size_t bytes) {
    const unsigned char *bytes_of = p;
    for (size_t i = 0; i < bytes; i++)
        if (bytes_of[i] != 0xFF) return 0;
    return 1;
}

/* ---- numbers ------------------------------------------------------------------------------ */

const char *const type_names[NNC_N_DTYPES] = {"float32", "float64"};

size_t size_of(nnc_dtype type) { return type == NNC_F32 ? sizeof(float) : sizeof(double); }

wide epsilon_of(nnc_dtype type) {
    return (type == NNC_F32 ? (wide)FLT_EPSILON : (wide)DBL_EPSILON) + (wide)WIDE_EPSILON;
}

wide smallest_of(nnc_dtype type) { return type == NNC_F32 ? 0x1p-149 : 0x1p-1074; }

double get(nnc_dtype type, const void *p, ptrdiff_t i) {
    return type == NNC_F32 ? (double)((const float *)p)[i] : ((const double *)p)[i];
}

void put(nnc_dtype type, void *p, ptrdiff_t i, double value) {
    if (type == NNC_F32)
        ((float *)p)[i] = (float)value;
    else
        ((double *)p)[i] = value;
}

void *at(nnc_dtype type, const void *p, ptrdiff_t i) {
    return (char *)(uintptr_t)p + i * (ptrdiff_t)size_of(type);
}

uint64_t mixed(uint64_t seed, uint64_t i) { /* splitmix64 */
    uint64_t z = (seed + 1) * 0x9E3779B97F4A7C15u + i * 0xD1342543DE82EF95u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

double uniform(uint64_t seed, uint64_t i, double low, double high) {
    return low + (high - low) * ((double)(mixed(seed, i) >> 11) * 0x1p-53);
}

void fill(nnc_dtype type, void *p, ptrdiff_t n, uint64_t seed, double low, double high) {
    for (ptrdiff_t i = 0; i < n; i++) put(type, p, i, uniform(seed, (uint64_t)i, low, high));
}

uint64_t mix(uint64_t hash, const void *p, size_t bytes) {
    const unsigned char *from = p;
    for (size_t i = 0; i < bytes; i++) hash = (hash ^ from[i]) * 0x100000001B3u;
    return hash;
}

/* ---- comparisons -------------------------------------------------------------------------- */

ptrdiff_t first_outside(nnc_dtype type, ptrdiff_t rows, ptrdiff_t n, const void *got, ptrdiff_t ld,
                        const wide *expected, const wide *bound) {
    for (ptrdiff_t i = 0; i < rows; i++)
        for (ptrdiff_t j = 0; j < n; j++) {
            const wide error = W(fabs)(get(type, got, i * ld + j) - expected[i * n + j]);
            if (!(error <= bound[i * n + j])) return i * n + j; /* NaN is outside, too */
        }
    return -1;
}

ptrdiff_t first_different(nnc_dtype type, ptrdiff_t rows, ptrdiff_t n, const void *got,
                          ptrdiff_t ld, const void *expected) {
    for (ptrdiff_t i = 0; i < rows; i++)
        for (ptrdiff_t j = 0; j < n; j++)
            if (memcmp(at(type, got, i * ld + j), at(type, expected, i * n + j), size_of(type)))
                return i * n + j;
    return -1;
}

int gaps_untouched(nnc_dtype type, ptrdiff_t rows, ptrdiff_t n, const void *p, ptrdiff_t ld) {
    for (ptrdiff_t i = 0; n > 0 && i + 1 < rows; i++)
        if (!is_untouched(at(type, p, i * ld + n), (size_t)(ld - n) * size_of(type))) return 0;
    return 1;
}

/* ---- polls -------------------------------------------------------------------------------- */

int count_down(void *context) {
    countdown *c = context;
    return ++c->calls == c->stop_at;
}

/* ---- the kernels to test ------------------------------------------------------------------ */

int runnable(nnc_dtype type, const nnc_kernels *list[MAX_ISAS]) {
    int n = 0;
    for (int i = 0; i < nnc_isa_count() && n < MAX_ISAS; i++)
        if (nnc_isa_runnable(i)) list[n++] = nnc_kernels_for(nnc_isa_name(i), type);
    if (EMULATED && n > 1) n--; /* the last is the baseline */
    return n;
}

int is_fused(const nnc_kernels *k) { return strcmp(k->isa, "baseline") != 0; }
