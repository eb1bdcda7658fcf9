/* The kernel tables in order of preference. Nothing is chosen here behind anybody's back: callers
 * name an instruction set, and get NULL if it cannot run. */
#include <string.h>

#include "cpu.h"
#include "nnc.h"

#define DECLARE(isa) \
    extern const nnc_kernels *const nnc_table_##isa##_f32, *const nnc_table_##isa##_f64;
DECLARE(avx512)
DECLARE(avx2)
DECLARE(neon)
DECLARE(baseline)

static int always(void) { return 1; }

static const struct {
    const char *name;
    const nnc_kernels *const *tables[NNC_N_DTYPES];
    int (*can_run)(void);
} isas[] = {
#define ROW(isa, can_run) {#isa, {&nnc_table_##isa##_f32, &nnc_table_##isa##_f64}, can_run}
    ROW(avx512, nnc_cpu_has_avx512),
    ROW(avx2, nnc_cpu_has_avx2_fma),
    ROW(neon, nnc_cpu_has_neon),
    ROW(baseline, always),
};

int nnc_isa_count(void) { return (int)(sizeof isas / sizeof *isas); }

const char *nnc_isa_name(int i) { return isas[i].name; }

int nnc_isa_compiled(int i) { return *isas[i].tables[NNC_F32] != NULL; }

int nnc_isa_runnable(int i) { return nnc_isa_compiled(i) && isas[i].can_run(); }

const nnc_kernels *nnc_kernels_for(const char *isa, nnc_dtype dtype) {
    for (int i = 0; i < nnc_isa_count(); i++)
        if (strcmp(isa, isas[i].name) == 0 && nnc_isa_runnable(i)) return *isas[i].tables[dtype];
    return NULL;
}

const char *nnc_build_compiler(void) {
#if defined(__clang__)
    return __VERSION__; /* names itself */
#elif defined(__GNUC__)
    return "gcc " __VERSION__;
#else
    return "unknown";
#endif
}

const char *nnc_build_flags(void) {
#ifdef NNC_BUILD_FLAGS
    return NNC_BUILD_FLAGS;
#else
    return "";
#endif
}
