/* exp(x) - 1 for x <= 0. With x = n ln 2 + r it is 2^n (exp(r) - 1) + (2^n - 1), which keeps its digits near 0. nan stays nan. */
static inline REAL expm1_below(REAL x) {
    const REAL lowest = sizeof(REAL) == 4 ? (REAL)-87.0 : (REAL)-708.0; /* below it 2^n is no normal number, and -1 the result */
    x = x < lowest ? lowest : x;
    REAL p;
    if (sizeof(REAL) == 4) {
        float n = rintf((float)x * 1.44269504f);
        REAL r = (REAL)((float)x - n * 0.693359375f + n * 2.12194440e-4f); /* ln 2 in two parts, as Cody and Waite have it */
        p = (REAL)(1.0 / 5040.0);
        p = p * r + (REAL)(1.0 / 720.0);
        p = p * r + (REAL)(1.0 / 120.0);
        p = p * r + (REAL)(1.0 / 24.0);
        p = p * r + (REAL)(1.0 / 6.0);
        p = p * r + (REAL)0.5;
        p = p * r * r + r;
        int32_t bits = ((int32_t)n + 127) << 23;
        float power;
        memcpy(&power, &bits, sizeof power);
        return (REAL)power * p + ((REAL)power - 1);
    }
    double n = rint((double)x * 1.4426950408889634);
    double r = (double)x - n * 6.93147180369123816490e-01 - n * 1.90821492927058770002e-10;
    double q = 1.0 / 87178291200.0;
    q = q * r + 1.0 / 6227020800.0;
    q = q * r + 1.0 / 479001600.0;
    q = q * r + 1.0 / 39916800.0;
    q = q * r + 1.0 / 3628800.0;
    q = q * r + 1.0 / 362880.0;
    q = q * r + 1.0 / 40320.0;
    q = q * r + 1.0 / 5040.0;
    q = q * r + 1.0 / 720.0;
    q = q * r + 1.0 / 120.0;
    q = q * r + 1.0 / 24.0;
    q = q * r + 1.0 / 6.0;
    q = q * r + 0.5;
    q = q * r * r + r;
    int64_t bits = ((int64_t)n + 1023) << 52;
    double power;
    memcpy(&power, &bits, sizeof power);
    return (REAL)(power * q + (power - 1));
}

static inline REAL activated(REAL y, const int activation, REAL alpha) {
    if (activation == ELU) {
        REAL below = alpha * expm1_below(y > 0 ? 0 : y);
        return y > 0 ? y : below;
    }
    return activation == RELU ? (y < 0 ? 0 : y) : y;
}

/* dz times the derivative at y of the activation that returned z. It asks y, not z: with a negative alpha both sides are positive. */
static inline REAL through(REAL dz, REAL y, REAL z, const int activation, REAL alpha) {
    if (activation == IDENTITY) return dz;
    return y > 0 ? dz : activation == RELU ? 0 : dz * (z + alpha);
}

/* z = activation(scale x + shift), n rows of one channel */
static inline void activate_rows(const REAL *x, REAL *z, index_t n, index_t stride, index_t size, REAL scale, REAL shift,
                                 const int activation, REAL alpha) {
    for (index_t b = 0; b < n; b++, x += stride, z += stride)
#pragma omp simd
        for (index_t i = 0; i < size; i++) z[i] = activated(x[i] * scale + shift, activation, alpha);
}

static void activate_channel(const REAL *x, REAL *z, index_t n, index_t stride, index_t size, REAL scale, REAL shift, int activation,
                             REAL alpha) {
    if (activation == ELU) activate_rows(x, z, n, stride, size, scale, shift, ELU, alpha);
    else if (activation == RELU) activate_rows(x, z, n, stride, size, scale, shift, RELU, 0);
    else activate_rows(x, z, n, stride, size, scale, shift, IDENTITY, 0);
}

/* The derivative by alpha is the sum of dz (exp(y) - 1) over the y below 0. It is that of dz z over alpha, which is there already,
   unless alpha is so near 0 that z has lost its digits. */
#define HAS_DIGITS(alpha) ((alpha) > (REAL)1e-20 || (alpha) < (REAL)-1e-20)

static double by_alpha(const REAL *x, const REAL *dz, index_t n, index_t stride, index_t size, REAL scale, REAL shift) {
    double total = 0;
    for (index_t b = 0; b < n; b++, x += stride, dz += stride) {
        REAL sum = 0;
#pragma omp simd reduction(+ : sum)
        for (index_t i = 0; i < size; i++) {
            REAL y = x[i] * scale + shift;
            sum += dz[i] * expm1_below(y > 0 ? 0 : y);
        }
        total += (double)sum;
    }
    return total;
}

/* z = elu(x) with one alpha for each channel */
EXPORT void elu_forward(const REAL *x, const REAL *alpha, REAL *z, index_t n, index_t channels, index_t size, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (index_t c = 0; c < channels; c++)
        activate_rows(x + c * size, z + c * size, n, channels * size, size, 1, 0, ELU, alpha[c]);
}

EXPORT void elu_backward(const REAL *x, const REAL *z, const REAL *dz, const REAL *alpha, REAL *dx, REAL *dalpha, index_t n,
                         index_t channels, index_t size, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (index_t c = 0; c < channels; c++) {
        REAL a = alpha[c];
        double total = 0;
        for (index_t b = 0; b < n; b++) {
            index_t at = (b * channels + c) * size;
            REAL sum = 0;
#pragma omp simd reduction(+ : sum)
            for (index_t i = 0; i < size; i++) {
                REAL y = x[at + i], d = dz[at + i], e = z[at + i];
                dx[at + i] = y > 0 ? d : d * (e + a);
                sum += y > 0 ? 0 : d * e;
            }
            total += (double)sum;
        }
        if (dalpha) {
            index_t at = c * size;
            dalpha[c] = (REAL)(HAS_DIGITS(a) ? total / a : by_alpha(x + at, dz + at, n, channels * size, size, 1, 0));
        }
    }
}
