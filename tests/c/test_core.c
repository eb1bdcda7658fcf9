/* Tests the engine through nnc.h, without Python: every instruction set that can run here, in both
 * types. See HACKING.md for how it is built: `make test-c sanitize neon`.
 *
 *   test_core            all tests; status 1 if one fails
 *   test_core --threads  only those of threads (`make tsan`)
 *   test_core --digests  prints digests.def (`make digests` writes it)
 */
#if !defined(_GNU_SOURCE)
#define _GNU_SOURCE
#endif
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "testing.h"

/* ---- the checkers themselves --------------------------------------------------------------- */

enum { READ_BEHIND, WRITE_BEHIND, WRITE_FAR_BEHIND };

/* Whether a child that touches memory outside a buffer comes to a bad end. */
static int is_noticed(int what, size_t bytes) {
    fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
        fclose(stderr); /* the sanitizer's report */
        close(2);
        volatile unsigned char *p =
            what == WRITE_FAR_BEHIND ? fresh_with_slack(bytes) : fresh(bytes);
        if (what == READ_BEHIND)
            (void)p[bytes];
        else
            p[bytes + (what == WRITE_FAR_BEHIND ? NNC_SLACK : 0)] = 1;
        _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    return !(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* What a kernel may get wrong must be seen by the comparison that looks at its result. */
void test_checkers(void) {
    enum { ROWS = 3, N = 5, LD = 7, COUNT = ROWS * N };
    group("the checkers reject what is wrong");
    for (int t = 0; t < NNC_N_DTYPES; t++) {
        const nnc_dtype type = (nnc_dtype)t;
        const int start = mark();
        where("%s", type_names[t]);
        void *got = fresh((size_t)((ROWS - 1) * LD + N) * size_of(type)),
             *dense = fresh(COUNT * size_of(type));
        wide want[COUNT], bound[COUNT];
        int distinct = 1;
        for (ptrdiff_t i = 0; i < COUNT; i++) {
            put(type, dense, i, uniform(1, (uint64_t)i, 0.5, 1));
            put(type, got, i / N * LD + i % N, get(type, dense, i));
            want[i] = get(type, dense, i), bound[i] = 2 * epsilon_of(type);
            distinct &= i == 0 || want[i] != want[i - 1];
        }
        check(distinct, "the data do not vary");
#define REJECTS(what, e, value) \
    do { \
        void *place = at(type, got, (e) / N * LD + (e) % N); \
        put(type, place, 0, value); \
        check(first_outside(type, ROWS, N, got, LD, want, bound) == (e), "%s passes a bound", \
              what); \
        check(first_different(type, ROWS, N, got, LD, dense) == (e), "%s passes for equal", what); \
        put(type, place, 0, get(type, dense, e)); \
        check(first_outside(type, ROWS, N, got, LD, want, bound) < 0 && \
                  first_different(type, ROWS, N, got, LD, dense) < 0, \
              "the right values are rejected"); \
    } while (0)
        for (int e = 0; e < COUNT; e++) {
            const double right = get(type, dense, e);
            REJECTS("zero", e, 0);
            REJECTS("NaN", e, NAN);
            REJECTS("infinity", e, INFINITY);
            REJECTS("the other sign", e, -right);
            REJECTS("an element's neighbour", e, get(type, dense, (e + 1) % COUNT));
            REJECTS("an error of three ulp", e, right + 3 * (double)epsilon_of(type));
        }
        check(gaps_untouched(type, ROWS, N, got, LD), "gaps were touched");
        for (int i = 0; i < ROWS - 1; i++)
            for (int j = N; j < LD; j++) {
                put(type, got, i * LD + j, 0);
                check(!gaps_untouched(type, ROWS, N, got, LD), "a zero in a gap passes");
                memset(at(type, got, i * LD + j), 0xFF, size_of(type));
            }
        release(start);
    }
    where("buffers");
    static const size_t sizes[] = {0, 4, 12, 64, 4096, 5000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        check(is_noticed(READ_BEHIND, sizes[i]), "reading behind %zu bytes passes", sizes[i]);
        check(is_noticed(WRITE_BEHIND, sizes[i]), "writing behind %zu bytes passes", sizes[i]);
        check(is_noticed(WRITE_FAR_BEHIND, sizes[i]), "writing behind the slack passes");
    }
    unsigned char *p = fresh_with_slack(8);
    p[8 + NNC_SLACK - 1] = 0;
    check(!is_untouched(p + 8, NNC_SLACK), "a change of the slack passes");
    p[8 + NNC_SLACK - 1] = 0xFF;
    release(mark() - 1);
}

/* ---- instruction sets ----------------------------------------------------------------------- */

static void test_tables(void) {
    group("instruction sets");
    for (int i = 0; i < nnc_isa_count(); i++) {
        const char *name = nnc_isa_name(i);
        where("%s", name);
        printf("  %-10s %s\n", name,
               !nnc_isa_compiled(i)   ? "not compiled for this processor"
               : !nnc_isa_runnable(i) ? "cannot run here: NOT TESTED"
                                      : "tested");
        for (int t = 0; t < NNC_N_DTYPES; t++) {
            const nnc_kernels *k = nnc_kernels_for(name, (nnc_dtype)t);
            check((k != NULL) == nnc_isa_runnable(i), "its table is there, or not");
            if (!k) continue;
            check(!strcmp(k->isa, name) && k->dtype == (nnc_dtype)t && k->size == size_of(k->dtype),
                  "its table describes another");
            check(k->gemm_rows_work % NNC_ALIGN == 0, "rows take %zu bytes", k->gemm_rows_work);
            check(k->gemm_work % NNC_ALIGN == 0, "its workspace is %zu bytes", k->gemm_work);
        }
    }
    check(nnc_kernels_for("sse9", NNC_F32) == NULL, "an unknown name has a table");
    check(nnc_kernels_for("", NNC_F64) == NULL, "an empty name has a table");
    check(nnc_isa_runnable(nnc_isa_count() - 1), "the baseline cannot run");
}

int main(int argc, char **argv) {
    if (argc == 2 && !strcmp(argv[1], "--digests")) {
        print_digests();
        return 0;
    }
    if (argc == 2 && !strcmp(argv[1], "--threads")) {
        test_threads();
        test_step_threads();
        test_landscape();
        return finish();
    }
    if (argc != 1) {
        fprintf(stderr, "usage: %s [--threads | --digests]\n", argv[0]);
        return 2;
    }
    test_tables();
    test_checkers();
    test_elementwise();
    test_losses();
    test_rows();
    test_updates();
    test_gemm();
    test_plan_check();
    test_networks();
    test_gradients();
    test_called_loss();
    test_missing();
    test_derivatives();
    test_landscape();
    test_long_products();
    test_poll();
    test_threads();
    test_steps();
    test_step_bits();
    test_step_threads();
    test_digests();
    return finish();
}
