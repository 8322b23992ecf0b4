/* Mean and sum of the squared deviations of one channel, row by row, joined as Chan, Golub and LeVeque do it (1979). */
static void moments(const REAL *x, index_t n, index_t stride, index_t size, double *mean, double *squares) {
    double m = 0, s = 0;
    for (index_t b = 0; b < n; b++, x += stride) {
        REAL sum = 0, square = 0, rest = 0;
#pragma omp simd reduction(+ : sum)
        for (index_t i = 0; i < size; i++) sum += x[i];
        REAL centre = sum / (REAL)size;
#pragma omp simd reduction(+ : square, rest)
        for (index_t i = 0; i < size; i++) {
            REAL d = x[i] - centre;
            rest += d;
            square += d * d;
        }
        /* `centre` is the row's mean but for its rounding, which `rest` makes up for */
        double off = (double)rest / (double)size;
        double delta = (double)centre + off - m;
        m += delta / (double)(b + 1);
        s += (double)square - off * off * (double)size + delta * delta * (double)size * (double)b / (double)(b + 1);
    }
    *mean = m, *squares = s;
}

/* z = activation(weight (x - mean) / sqrt(var + epsilon) + bias) with the statistics of the batch, which it notes, and mixes into the
   running ones where these are given. scale and shift are what x was multiplied by and what was added. */
EXPORT void normalize_forward(const REAL *x, const REAL *weight, const REAL *bias, const REAL *alpha, REAL *z, REAL *running_mean,
                              REAL *running_var, double *mean, double *inverse, REAL *scale, REAL *shift, index_t n, index_t channels,
                              index_t size, int activation, double momentum, double epsilon, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (index_t c = 0; c < channels; c++) {
        double m, s, count = (double)(n * size);
        moments(x + c * size, n, channels * size, size, &m, &s);
        mean[c] = m, inverse[c] = 1 / sqrt(s / count + epsilon);
        if (running_mean) {
            running_mean[c] = (REAL)((1 - momentum) * running_mean[c] + momentum * m);
            running_var[c] = (REAL)((1 - momentum) * running_var[c] + momentum * (s / (count - 1)));
        }
        double factor = inverse[c] * (weight ? weight[c] : 1);
        scale[c] = (REAL)factor, shift[c] = (REAL)((bias ? bias[c] : 0) - m * factor);
        activate_channel(x + c * size, z + c * size, n, channels * size, size, scale[c], shift[c], activation, alpha ? alpha[c] : 0);
    }
}

/* The same with statistics that are given: scale and shift of each channel. */
EXPORT void affine_forward(const REAL *x, const REAL *scale, const REAL *shift, const REAL *alpha, REAL *z, index_t n,
                           index_t channels, index_t size, int activation, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (index_t c = 0; c < channels; c++)
        activate_channel(x + c * size, z + c * size, n, channels * size, size, scale[c], shift[c], activation, alpha ? alpha[c] : 0);
}

/* With g = dz times the activation's derivative: the sums of g, of g (x - mean), and of dz z below 0. */
static inline void sum_rows(const REAL *x, const REAL *z, const REAL *dz, index_t n, index_t stride, index_t size, REAL mean,
                            REAL scale, REAL shift, const int activation, REAL alpha, double *sums) {
    for (index_t b = 0; b < n; b++, x += stride, z += stride, dz += stride) {
        REAL s = 0, d = 0, a = 0;
#pragma omp simd reduction(+ : s, d, a)
        for (index_t i = 0; i < size; i++) {
            REAL y = x[i] * scale + shift, below = activation == ELU ? z[i] : 0;
            REAL g = through(dz[i], y, below, activation, alpha);
            s += g;
            d += g * (x[i] - mean);
            a += y > 0 ? 0 : dz[i] * below;
        }
        sums[0] += (double)s, sums[1] += (double)d, sums[2] += (double)a;
    }
}

/* dx = scale (g - the mean of g - (x - mean) tilt) */
static inline void spread_rows(const REAL *x, const REAL *z, const REAL *dz, REAL *dx, index_t n, index_t stride, index_t size,
                               REAL mean, REAL scale, REAL shift, const int activation, REAL alpha, REAL level, REAL tilt) {
    for (index_t b = 0; b < n; b++, x += stride, z += stride, dz += stride, dx += stride)
#pragma omp simd
        for (index_t i = 0; i < size; i++) {
            REAL y = x[i] * scale + shift, below = activation == ELU ? z[i] : 0;
            dx[i] = scale * (through(dz[i], y, below, activation, alpha) - level - (x[i] - mean) * tilt);
        }
}

#define BACKWARD(ACTIVATION)                                                                                              \
    {                                                                                                                     \
        sum_rows(xc, zc, dzc, n, stride, size, m, scale[c], shift[c], ACTIVATION, a, sums);                               \
        REAL level = (REAL)(sums[0] / count), tilt = (REAL)(sums[1] * inverse[c] * inverse[c] / count);                   \
        if (dx)                                                                                                           \
            spread_rows(xc, zc, dzc, dx + c * size, n, stride, size, m, scale[c], shift[c], ACTIVATION, a, level, tilt);  \
    }

EXPORT void normalize_backward(const REAL *x, const REAL *z, const REAL *dz, const REAL *alpha, const double *mean,
                               const double *inverse, const REAL *scale, const REAL *shift, REAL *dx, REAL *dweight, REAL *dbias,
                               REAL *dalpha, index_t n, index_t channels, index_t size, int activation, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (index_t c = 0; c < channels; c++) {
        const REAL *xc = x + c * size, *zc = z + c * size, *dzc = dz + c * size;
        index_t stride = channels * size;
        double sums[3] = {0, 0, 0}, count = (double)(n * size);
        REAL m = (REAL)mean[c], a = alpha ? alpha[c] : 0;
        if (activation == ELU) BACKWARD(ELU)
        else if (activation == RELU) BACKWARD(RELU)
        else BACKWARD(IDENTITY)
        if (dweight) dweight[c] = (REAL)(sums[1] * inverse[c]);
        if (dbias) dbias[c] = (REAL)sums[0];
        if (dalpha) dalpha[c] = (REAL)(HAS_DIGITS(a) ? sums[2] / a : by_alpha(xc, dzc, n, stride, size, scale[c], shift[c]));
    }
}
