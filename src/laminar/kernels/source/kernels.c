/* Kernels for training and inference on the CPU, in one pass over memory where torch's operations need several.

   Compiled once for each dtype: -DREAL=float or -DREAL=double; in four parts side by side, -DPART=1 to 4, or whole, without it. Tensors are contiguous, (n, channels, size) with `size` the number of
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
#define SHOWN __attribute__((visibility("default")))
#define UNSEEN static __attribute__((unused)) /* a function of another part, of which this one has its own where it is called */

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

#if !defined(PART) || PART == 1
#define EXPORT SHOWN
#else
#define EXPORT UNSEEN
#endif
#include "activation.h"
#include "normalization.h"
#include "convolution.h"

#undef EXPORT
#if !defined(PART) || PART == 2
#define EXPORT SHOWN
#else
#define EXPORT UNSEEN
#endif
#include "dense.h"
#include "winograd.h"
#include "images.h"

#undef EXPORT
#if !defined(PART) || PART == 3
#define EXPORT SHOWN
#else
#define EXPORT UNSEEN
#endif
#include "channels_last.h"
#include "pooling.h"
#include "dropout.h"

#undef EXPORT
#if !defined(PART) || PART == 4
#define EXPORT SHOWN
#else
#define EXPORT UNSEEN
#endif
#include "lstm.h"
#include "perceptron.h"
