/* 16-byte vectors in plain C, for instruction sets without masked loads and stores. */
#if NNC_REAL_IS_F32
#define LANES 4
#define VSPLAT(x) ((vec){x, x, x, x})
#else
#define LANES 2
#define VSPLAT(x) ((vec){x, x})
#endif
#define VLOAD_N(p, n) load_first(p, n)
#define VSTORE_N(p, v, n) store_first(p, v, n)
