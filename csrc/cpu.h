/* What this processor and its operating system can run. */
#ifndef NNC_CPU_H
#define NNC_CPU_H

int nnc_cpu_has_avx2_fma(void);
int nnc_cpu_has_avx512(void); /* F, BW, DQ and VL */
int nnc_cpu_has_neon(void);

#endif
