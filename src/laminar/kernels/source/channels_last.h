/* Normalization, activation and pooling of channels-last tensors, (rows, channels) with a row for each position of each image.

   Vectors run over channels. Rows are summed in PARTS parts, whatever the threads, and these one after the other. */

#define PARTS 64  /* of the rows */
#define AT_ONCE 32 /* rows that are summed in REAL before they join a sum in double: they are read twice, from the cache */

/* What a part of the rows has found of each channel: mean and sum of squared deviations, or sums of slopes. */
static index_t part_end(index_t part, index_t rows) { return rows * (part + 1) / PARTS; }

static void part_moments(const REAL *x, index_t rows, index_t channels, double *mean, double *squares, REAL *room) {
    REAL *centre = room, *square = room + channels, *rest = room + 2 * channels;
    index_t seen = 0;
    for (index_t c = 0; c < channels; c++) mean[c] = squares[c] = 0;
    for (; seen < rows;) {
        index_t count = rows - seen < AT_ONCE ? rows - seen : AT_ONCE;
        memset(room, 0, (size_t)(3 * channels) * sizeof(REAL));
        for (index_t r = 0; r < count; r++)
#pragma omp simd
            for (index_t c = 0; c < channels; c++) centre[c] += x[r * channels + c];
        for (index_t c = 0; c < channels; c++) centre[c] /= (REAL)count;
        for (index_t r = 0; r < count; r++)
#pragma omp simd
            for (index_t c = 0; c < channels; c++) {
                REAL d = x[r * channels + c] - centre[c];
                rest[c] += d;
                square[c] += d * d;
            }
        for (index_t c = 0; c < channels; c++) { /* as `moments` joins rows of a channel */
            double off = (double)rest[c] / (double)count, delta = (double)centre[c] + off - mean[c];
            mean[c] += delta * (double)count / (double)(seen + count);
            squares[c] += (double)square[c] - off * off * (double)count + delta * delta * (double)count * (double)seen / (double)(seen + count);
        }
        seen += count, x += count * channels;
    }
}

static inline void affine_rows(const REAL *restrict x, const REAL *restrict other, REAL *restrict z, index_t rows, index_t channels,
                               const REAL *restrict scale, const REAL *restrict shift, const int activation,
                               const REAL *restrict alpha) {
    for (index_t r = 0; r < rows; r++, x += channels, z += channels) {
#pragma omp simd
        for (index_t c = 0; c < channels; c++) {
            REAL y = x[c] * scale[c] + shift[c] + (other ? other[c] : 0);
            z[c] = activated(y, activation, activation == ELU ? alpha[c] : 0);
        }
        if (other) other += channels;
    }
}

/* z = activation(scale x + shift + other), where there is another summand */
EXPORT void affine_last(const REAL *x, const REAL *other, const REAL *scale, const REAL *shift, const REAL *alpha, REAL *z,
                        index_t rows, index_t channels, int activation, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (index_t part = 0; part < PARTS; part++) {
        index_t first = part_end(part - 1, rows), count = part_end(part, rows) - first, at = first * channels;
        const REAL *summand = other ? other + at : 0;
        if (activation == ELU) affine_rows(x + at, 0, z + at, count, channels, scale, shift, ELU, alpha);
        else if (activation == RELU && other) affine_rows(x + at, summand, z + at, count, channels, scale, shift, RELU, alpha);
        else if (activation == RELU) affine_rows(x + at, 0, z + at, count, channels, scale, shift, RELU, alpha);
        else affine_rows(x + at, 0, z + at, count, channels, scale, shift, IDENTITY, alpha);
    }
}

/* See normalize_forward. `room` is for 2 PARTS channels doubles, and as many of them again. */
EXPORT void normalize_last_forward(const REAL *x, const REAL *other, const REAL *weight, const REAL *bias, const REAL *alpha, REAL *z,
                                   REAL *running_mean, REAL *running_var, double *mean, double *inverse, REAL *scale, REAL *shift,
                                   double *room, index_t rows, index_t channels, int activation, double momentum, double epsilon,
                                   int threads) {
    double *means = room, *squares = room + PARTS * channels;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (index_t part = 0; part < PARTS; part++) {
        index_t first = part_end(part - 1, rows);
        part_moments(x + first * channels, part_end(part, rows) - first, channels, means + part * channels, squares + part * channels,
                     (REAL *)(room + 2 * PARTS * channels) + part * 3 * channels);
    }
    for (index_t c = 0; c < channels; c++) {
        double m = 0, s = 0, count = (double)rows;
        for (index_t part = 0; part < PARTS; part++) {
            double before = (double)part_end(part - 1, rows), own = (double)part_end(part, rows) - before;
            if (own == 0) continue;
            double delta = means[part * channels + c] - m;
            m += delta * own / (before + own);
            s += squares[part * channels + c] + delta * delta * own * before / (before + own);
        }
        mean[c] = m, inverse[c] = 1 / sqrt(s / count + epsilon);
        if (running_mean) {
            running_mean[c] = (REAL)((1 - momentum) * running_mean[c] + momentum * m);
            running_var[c] = (REAL)((1 - momentum) * running_var[c] + momentum * (s / (count - 1)));
        }
        double factor = inverse[c] * (weight ? weight[c] : 1);
        scale[c] = (REAL)factor, shift[c] = (REAL)((bias ? bias[c] : 0) - m * factor);
    }
    affine_last(x, other, scale, shift, alpha, z, rows, channels, activation, threads);
}

/* dz times the slope of the activation at y; z is given where another summand went into it */
static inline REAL slope(REAL dz, REAL y, const REAL *z, index_t c, const int activation, const REAL *alpha, REAL *below) {
    if (activation == ELU) {
        *below = y > 0 ? 0 : expm1_below(y > 0 ? 0 : y);
        return y > 0 ? dz : dz * alpha[c] * (*below + 1);
    }
    if (activation == RELU) return (z ? z[c] : y) > 0 ? dz : 0;
    return dz;
}

/* With g = dz times the activation's derivative: the sums of g, of g (x - mean), and, for alpha, of dz (exp(y) - 1) below 0. */
static inline void sum_part(const REAL *restrict x, const REAL *restrict z, const REAL *restrict dz, REAL *restrict dother,
                            index_t rows, index_t channels, const REAL *restrict mean, const REAL *restrict scale,
                            const REAL *restrict shift, const int activation, const REAL *restrict alpha, double *restrict sums,
                            REAL *restrict room) {
    REAL *restrict s = room, *restrict d = room + channels, *restrict a = room + 2 * channels;
    for (index_t first = 0; first < rows; first += AT_ONCE) {
        index_t count = rows - first < AT_ONCE ? rows - first : AT_ONCE;
        memset(room, 0, (size_t)(3 * channels) * sizeof(REAL));
        for (index_t r = 0; r < count; r++, x += channels, dz += channels) {
#pragma omp simd
            for (index_t c = 0; c < channels; c++) {
                REAL below = 0, y = x[c] * scale[c] + shift[c], g = slope(dz[c], y, z, c, activation, alpha, &below);
                s[c] += g;
                d[c] += g * (x[c] - mean[c]);
                if (activation == ELU) a[c] += dz[c] * below;
                if (dother) dother[c] = g;
            }
            if (z) z += channels;
            if (dother) dother += channels;
        }
        for (index_t c = 0; c < channels; c++)
            sums[c] += (double)s[c], sums[channels + c] += (double)d[c], sums[2 * channels + c] += (double)a[c];
    }
}

/* dx = scale (g - level - (x - mean) tilt) */
static inline void spread_part(const REAL *restrict x, const REAL *restrict dz, REAL *restrict dx, index_t rows, index_t channels,
                               const REAL *restrict mean, const REAL *restrict scale, const REAL *restrict shift, const int activation,
                               const REAL *restrict alpha, const REAL *restrict level, const REAL *restrict tilt) {
    for (index_t r = 0; r < rows; r++, x += channels, dz += channels, dx += channels)
#pragma omp simd
        for (index_t c = 0; c < channels; c++) {
            REAL below, y = x[c] * scale[c] + shift[c], g = slope(dz[c], y, 0, c, activation, alpha, &below);
            dx[c] = scale[c] * (g - level[c] - (x[c] - mean[c]) * tilt[c]);
        }
}

/* Gradients of a normalization of channels-last rows, its activation, and another summand of its (dother, which may not be missing where
   z is given). `fixed` statistics do not depend on x. `room`: (3 PARTS + 5) channels doubles, and 3 PARTS channels REALs. */
EXPORT void normalize_last_backward(const REAL *x, const REAL *z, const REAL *dz, const REAL *alpha, const double *mean,
                                    const double *inverse, const REAL *scale, const REAL *shift, REAL *dx, REAL *dother, REAL *dweight,
                                    REAL *dbias, REAL *dalpha, double *room, index_t rows, index_t channels, int activation, int fixed,
                                    int threads) {
    double *sums = room, *total = room + 3 * PARTS * channels;
    REAL *centre = (REAL *)(total + 3 * channels), *level = centre + channels, *tilt = level + channels, *own = tilt + channels;
    for (index_t c = 0; c < channels; c++) centre[c] = (REAL)mean[c];
    memset(sums, 0, (size_t)(3 * (PARTS + 1) * channels) * sizeof(double));
#define SUMS(ACTIVATION, Z, DOTHER)                                                                                          \
    sum_part(x + at, Z, dz + at, DOTHER, count, channels, centre, scale, shift, ACTIVATION, alpha, sums + part * 3 * channels, \
             own + part * 3 * channels)
#pragma omp parallel for num_threads(threads) schedule(static)
    for (index_t part = 0; part < PARTS; part++) {
        index_t first = part_end(part - 1, rows), count = part_end(part, rows) - first, at = first * channels;
        if (activation == ELU) SUMS(ELU, 0, 0);
        else if (activation == RELU && z) SUMS(RELU, z + at, dother + at);
        else if (activation == RELU) SUMS(RELU, 0, 0);
        else SUMS(IDENTITY, 0, 0);
    }
    for (index_t i = 0; i < 3 * channels; i++)
        for (index_t part = 0; part < PARTS; part++) total[i] += sums[part * 3 * channels + i];
    for (index_t c = 0; c < channels; c++) {
        level[c] = fixed ? 0 : (REAL)(total[c] / (double)rows);
        tilt[c] = fixed ? 0 : (REAL)(total[channels + c] * inverse[c] * inverse[c] / (double)rows);
        if (dweight) dweight[c] = (REAL)(total[channels + c] * inverse[c]);
        if (dbias) dbias[c] = (REAL)total[c];
        if (dalpha) dalpha[c] = (REAL)total[2 * channels + c];
    }
    if (!dx) return;
    const REAL *from = z ? dother : dz; /* what lies behind the ReLU is known by now */
    int left = z ? IDENTITY : activation;
#define SPREAD(ACTIVATION) spread_part(x + at, from + at, dx + at, count, channels, centre, scale, shift, ACTIVATION, alpha, level, tilt)
#pragma omp parallel for num_threads(threads) schedule(static)
    for (index_t part = 0; part < PARTS; part++) {
        index_t first = part_end(part - 1, rows), count = part_end(part, rows) - first, at = first * channels;
        if (left == ELU) SPREAD(ELU);
        else if (left == RELU) SPREAD(RELU);
        else SPREAD(IDENTITY);
    }
}
