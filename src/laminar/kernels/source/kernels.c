/* Kernels for training and inference on the CPU, in one pass over memory where torch's operations need several.

   Compiled once for each dtype: -DREAL=float or -DREAL=double. Tensors are contiguous, (n, channels, size) with `size` the number of
   positions, or (n, channels, height, width). A channel, or a few filters, is the work of one thread from beginning to end: what it
   reads twice is still in its cache, and no sum depends on how many threads there are. */

#include <math.h>
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
#define EXPORT __attribute__((visibility("default")))

enum { IDENTITY, RELU, ELU };

static inline REAL fold(vec v) {
    REAL sum = 0;
    for (int i = 0; i < LANES; i++) sum += v[i];
    return sum;
}

#include "activation.h"
#include "normalization.h"
#include "convolution.h"
#include "dense.h"
