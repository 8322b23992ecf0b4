/* Kernels for training and inference on the CPU, in one pass over memory where torch's operations need several.

   Compiled unit by unit, side by side, for each dtype: -DUNIT=1 to 9, -DREAL=float or -DREAL=double. Which units make a library together,
   parts.py says. Tensors are contiguous, (n, channels, size) with `size` the number of
   positions, or (n, channels, height, width). A channel, or a few filters, is the work of one thread from beginning to end: what it
   reads twice is still in its cache, and no sum depends on how many threads there are. */

#include <math.h>
#ifdef _OPENMP
#include <omp.h>
#endif
#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__)
#define BYTES 64
#elif defined(__AVX__)
#define BYTES 32
#else
#define BYTES 16
#endif

typedef int64_t index_t;
typedef REAL vec __attribute__((vector_size(BYTES), aligned(sizeof(REAL)), may_alias)); /* loads need no alignment */

#define LANES ((index_t)(BYTES / sizeof(REAL)))
#define LOAD(p) (*(const vec *)(p))

#ifdef _OPENMP
#define THREAD omp_get_thread_num()
#else
#define THREAD 0
#endif

typedef __typeof__(__builtin_choose_expr(sizeof(REAL) == 4, (int32_t)0, (int64_t)0)) lane_t;
typedef lane_t mask __attribute__((vector_size(BYTES))); /* all bits of a lane, or none */

static inline vec where(mask m, vec v) { return (vec)((mask)v & m); }

enum { IDENTITY, RELU, ELU };

/* Halves are added to halves, which takes fewer steps than one number after the other. */
static inline REAL fold(vec v) {
    REAL sums[LANES];
    memcpy(sums, &v, sizeof sums);
    for (index_t n = LANES / 2; n; n /= 2)
        for (index_t i = 0; i < n; i++) sums[i] += sums[i + n];
    return sums[0];
}

/* Keeps a vector in its register, where a compiler would read it from memory again for every product. */
#if defined(__x86_64__)
#define KEEP(v) __asm__("" : "+x"(v))
#elif defined(__aarch64__)
#define KEEP(v) __asm__("" : "+w"(v))
#else
#define KEEP(v) (void)(v)
#endif

#define OF_UNIT 1
#include "export.h"
#include "activation.h"
#include "normalization.h"

#define OF_UNIT 2
#include "export.h"
#include "convolution.h"

#define OF_UNIT 3
#include "export.h"
#include "dense.h"

#define OF_UNIT 4
#include "export.h"
#include "winograd.h"

#define OF_UNIT 5
#include "export.h"
#include "images.h"

#define OF_UNIT 6
#include "export.h"
#include "channels_last.h"
#include "pooling.h"

#define OF_UNIT 7
#include "export.h"
#include "dropout.h"

#define OF_UNIT 8
#include "export.h"
#include "lstm.h"

#define OF_UNIT 9
#include "export.h"
#include "perceptron.h"
