/* y = x w' + bias for few units and many features: every pass reads x, or writes dx, once. */

#define UNITS 5 /* at a time */

/* two rows of x against `units` rows of w, which lie `features` apart */
static inline void dense_block(const REAL *x1, const REAL *x2, const REAL *w, REAL out[2][UNITS], index_t features, int units) {
    vec sums[2][UNITS];
    REAL rest[2][UNITS];
    const REAL *rows[UNITS]; /* a missing unit repeats the first, and is not used */
    for (int u = 0; u < UNITS; u++) {
        rows[u] = w + (u < units ? u : 0) * features;
        sums[0][u] = sums[1][u] = (vec){0}, rest[0][u] = rest[1][u] = 0;
    }
    index_t i = 0;
    for (; i + LANES <= features; i += LANES) {
        vec a = LOAD(x1 + i), b = LOAD(x2 + i);
        for (int u = 0; u < UNITS; u++) {
            vec v = LOAD(rows[u] + i);
            sums[0][u] += a * v;
            sums[1][u] += b * v;
        }
    }
    for (; i < features; i++)
        for (int u = 0; u < UNITS; u++) rest[0][u] += x1[i] * rows[u][i], rest[1][u] += x2[i] * rows[u][i];
    for (int r = 0; r < 2; r++)
        for (int u = 0; u < UNITS; u++) out[r][u] = fold(sums[r][u]) + rest[r][u];
}

EXPORT void dense_forward(const REAL *x, const REAL *w, const REAL *bias, REAL *y, index_t n, index_t features, index_t units,
                          int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (index_t pair = 0; pair < (n + 1) / 2; pair++) {
        index_t b = 2 * pair;
        int both = b + 1 < n;
        const REAL *one = x + b * features, *two = both ? one + features : one;
        for (index_t u = 0; u < units; u += UNITS) {
            int few = units - u < UNITS ? (int)(units - u) : UNITS;
            REAL out[2][UNITS];
            dense_block(one, two, w + u * features, out, features, few);
            for (int r = 0; r <= both; r++)
                for (int k = 0; k < few; k++) y[(b + r) * units + u + k] = out[r][k] + (bias ? bias[u + k] : 0);
        }
    }
}

#define TOGETHER 3 /* vectors of dx, of two rows */

static void dense_to_x(const REAL *dy, const REAL *w, REAL *dx, index_t n, index_t features, index_t units, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (index_t pair = 0; pair < (n + 1) / 2; pair++) {
        index_t b = 2 * pair, i = 0;
        int both = b + 1 < n;
        const REAL *one = dy + b * units, *two = both ? one + units : one;
        REAL *to = dx + b * features, *to2 = both ? to + features : to; /* without a second row, the first is written twice */
        for (; i + TOGETHER * LANES <= features; i += TOGETHER * LANES) {
            vec sums[2][TOGETHER];
            for (int v = 0; v < TOGETHER; v++) sums[0][v] = sums[1][v] = (vec){0};
            for (index_t u = 0; u < units; u++) {
                const REAL *row = w + u * features + i;
                for (int v = 0; v < TOGETHER; v++) {
                    vec weight = LOAD(row + v * LANES);
                    sums[0][v] += weight * one[u];
                    sums[1][v] += weight * two[u];
                }
            }
            for (int v = 0; v < TOGETHER; v++) {
                *(vec *)(to + i + v * LANES) = sums[0][v];
                *(vec *)(to2 + i + v * LANES) = sums[1][v];
            }
        }
        for (; i < features; i++) {
            REAL sum = 0, sum2 = 0;
            for (index_t u = 0; u < units; u++) sum += w[u * features + i] * one[u], sum2 += w[u * features + i] * two[u];
            to[i] = sum, to2[i] = sum2;
        }
    }
}

#define STRIP 6 /* vectors of dw, of two units: what a thread holds in registers while it goes down the batch */

static inline void dense_strip(const REAL *x, const REAL *dy, REAL *dw, index_t n, index_t features, index_t units, index_t u,
                               int both, const int vectors) {
    vec sums[2][STRIP];
    for (int v = 0; v < vectors; v++) sums[0][v] = sums[1][v] = (vec){0};
    for (index_t b = 0; b < n; b++, x += features, dy += units) {
        REAL one = dy[u], two = dy[u + both];
        for (int v = 0; v < vectors; v++) {
            vec in = LOAD(x + v * LANES);
            sums[0][v] += in * one;
            sums[1][v] += in * two;
        }
    }
    for (int k = 0; k <= both; k++)
        for (int v = 0; v < vectors; v++) *(vec *)(dw + (u + k) * features + v * LANES) = sums[k][v];
}

static void dense_to_w(const REAL *x, const REAL *dy, REAL *dw, index_t n, index_t features, index_t units, int threads) {
    index_t width = STRIP * LANES, whole = features / width, left = whole * width;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (index_t strip = 0; strip < whole; strip++)
        for (index_t u = 0; u < units; u += 2)
            dense_strip(x + strip * width, dy, dw + strip * width, n, features, units, u, u + 1 < units, STRIP);
    for (; left + LANES <= features; left += LANES)
        for (index_t u = 0; u < units; u += 2) dense_strip(x + left, dy, dw + left, n, features, units, u, u + 1 < units, 1);
    for (; left < features; left++)
        for (index_t u = 0; u < units; u++) {
            REAL sum = 0;
            for (index_t b = 0; b < n; b++) sum += x[b * features + left] * dy[b * units + u];
            dw[u * features + left] = sum;
        }
}

EXPORT void dense_backward(const REAL *x, const REAL *dy, const REAL *w, REAL *dx, REAL *dw, REAL *db, index_t n, index_t features,
                           index_t units, int threads) {
    if (dx) dense_to_x(dy, w, dx, n, features, units, threads);
    if (dw) dense_to_w(x, dy, dw, n, features, units, threads);
    if (!db) return;
    for (index_t u = 0; u < units; u++) {
        double sum = 0;
        for (index_t b = 0; b < n; b++) sum += (double)dy[b * units + u];
        db[u] = (REAL)sum;
    }
}
