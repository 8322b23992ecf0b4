/* y = x w' + bias for few units and many features: every pass reads x, or writes dx, once. */

#define ROWS 4     /* of x, */
#define UNITS 3    /* and of w, at a time, */
#define PIECE 1024 /* and so many of their numbers: the rows of x stay in the nearest cache while all of w goes by */

/* sums of a few rows of x with a few of w; both lie `features` apart, of which `size` are taken */
static inline void dense_block(const REAL *x, const REAL *w, REAL out[ROWS][UNITS], index_t features, index_t size, int rows,
                               int units) {
    vec sums[ROWS][UNITS];
    const REAL *of_x[ROWS], *of_w[UNITS]; /* a missing one repeats the first, and is not used */
    for (int r = 0; r < ROWS; r++) of_x[r] = x + (r < rows ? r : 0) * features;
    for (int u = 0; u < UNITS; u++) of_w[u] = w + (u < units ? u : 0) * features;
    for (int r = 0; r < ROWS; r++)
        for (int u = 0; u < UNITS; u++) sums[r][u] = (vec){0};
    index_t i = 0;
    for (; i + LANES <= size; i += LANES) {
        vec weights[UNITS];
        for (int u = 0; u < UNITS; u++) {
            weights[u] = LOAD(of_w[u] + i);
            KEEP(weights[u]);
        }
        for (int r = 0; r < ROWS; r++) {
            vec in = LOAD(of_x[r] + i);
            KEEP(in);
            for (int u = 0; u < UNITS; u++) sums[r][u] += in * weights[u];
        }
    }
    for (int r = 0; r < ROWS; r++)
        for (int u = 0; u < UNITS; u++) out[r][u] = fold(sums[r][u]);
    for (; i < size; i++)
        for (int r = 0; r < ROWS; r++)
            for (int u = 0; u < UNITS; u++) out[r][u] += of_x[r][i] * of_w[u][i];
}

/* rows of y are `apart` numbers apart */
static void dense_rows(const REAL *x, const REAL *w, const REAL *bias, REAL *y, index_t n, index_t features, index_t units,
                       index_t apart, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
    for (index_t group = 0; group < (n + ROWS - 1) / ROWS; group++) {
        index_t b = group * ROWS;
        int rows = n - b < ROWS ? (int)(n - b) : ROWS;
        for (int r = 0; r < rows; r++)
            for (index_t u = 0; u < units; u++) y[(b + r) * apart + u] = bias ? bias[u] : 0;
        for (index_t from = 0; from < features; from += PIECE) {
            index_t size = features - from < PIECE ? features - from : PIECE;
            for (index_t u = 0; u < units; u += UNITS) {
                int few = units - u < UNITS ? (int)(units - u) : UNITS;
                REAL out[ROWS][UNITS];
                dense_block(x + b * features + from, w + u * features + from, out, features, size, rows, few);
                for (int r = 0; r < rows; r++)
                    for (int k = 0; k < few; k++) y[(b + r) * apart + u + k] += out[r][k];
            }
        }
    }
}

EXPORT void dense_forward(const REAL *x, const REAL *w, const REAL *bias, REAL *y, index_t n, index_t features, index_t units,
                          int threads) {
    dense_rows(x, w, bias, y, n, features, units, units, threads);
}

#define TOGETHER 3 /* vectors of dx, of two rows */

static void dense_to_x(const REAL *dy, const REAL *w, REAL *dx, index_t n, index_t features, index_t units, index_t apart, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
    for (index_t pair = 0; pair < (n + 1) / 2; pair++) {
        index_t b = 2 * pair, i = 0;
        int both = b + 1 < n;
        const REAL *one = dy + b * apart, *two = both ? one + apart : one;
        REAL *to = dx + b * features, *to2 = both ? to + features : to; /* without a second row, the first is written twice */
        for (; i + TOGETHER * LANES <= features; i += TOGETHER * LANES) {
            vec sums[2][TOGETHER];
            for (int v = 0; v < TOGETHER; v++) sums[0][v] = sums[1][v] = (vec){0};
            for (index_t u = 0; u < units; u++) {
                const REAL *row = w + u * features + i;
                for (int v = 0; v < TOGETHER; v++) {
                    vec weight = LOAD(row + v * LANES);
                    KEEP(weight);
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

#define STRIP 3  /* vectors of dw, */
#define SEVERAL 4 /* of so many units: what a thread holds in registers while it goes down the batch */
#define DOWN 128 /* observations whose strips are laid side by side first: in x they may all lie in the same places of a cache */

/* rows of x are `beside` numbers apart, those of dy `apart` */
static inline void dense_strip(const REAL *x, index_t beside, const REAL *dy, index_t apart, REAL *dw, index_t n, index_t features,
                               int units, int first, const int vectors) {
    vec sums[SEVERAL][STRIP];
    int of[SEVERAL]; /* a missing unit repeats the first, and is not written */
    for (int k = 0; k < SEVERAL; k++) {
        of[k] = k < units ? k : 0;
        for (int v = 0; v < vectors; v++) sums[k][v] = first ? (vec){0} : LOAD(dw + of[k] * features + v * LANES);
    }
    for (index_t b = 0; b < n; b++, x += beside, dy += apart) {
        vec in[STRIP];
        for (int v = 0; v < vectors; v++) {
            in[v] = LOAD(x + v * LANES);
            KEEP(in[v]);
        }
        for (int k = 0; k < SEVERAL; k++) {
            REAL slope = dy[of[k]];
            for (int v = 0; v < vectors; v++) sums[k][v] += in[v] * slope;
        }
    }
    for (int k = 0; k < units; k++)
        for (int v = 0; v < vectors; v++) *(vec *)(dw + k * features + v * LANES) = sums[k][v];
}

/* rows of dy are `apart` numbers apart */
static void dense_to_w(const REAL *x, const REAL *dy, REAL *dw, index_t n, index_t features, index_t units, index_t apart, int threads) {
    index_t width = STRIP * LANES, whole = features / width, left = whole * width;
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
    for (index_t strip = 0; strip < whole; strip++) {
        REAL beside[DOWN * STRIP * LANES] __attribute__((aligned(64)));
        for (index_t b = 0; b < n; b += DOWN) {
            index_t rows = n - b < DOWN ? n - b : DOWN;
            for (index_t r = 0; r < rows; r++)
                memcpy(beside + r * width, x + (b + r) * features + strip * width, STRIP * LANES * sizeof(REAL));
            for (index_t u = 0; u < units; u += SEVERAL) {
                int few = units - u < SEVERAL ? (int)(units - u) : SEVERAL;
                dense_strip(beside, width, dy + b * apart + u, apart, dw + u * features + strip * width, rows, features, few, b == 0, STRIP);
            }
        }
    }
    for (; left + LANES <= features; left += LANES)
        for (index_t u = 0; u < units; u += SEVERAL) {
            int few = units - u < SEVERAL ? (int)(units - u) : SEVERAL;
            dense_strip(x + left, features, dy + u, apart, dw + u * features + left, n, features, few, 1, 1);
        }
    for (; left < features; left++)
        for (index_t u = 0; u < units; u++) {
            REAL sum = 0;
            for (index_t b = 0; b < n; b++) sum += x[b * features + left] * dy[b * apart + u];
            dw[u * features + left] = sum;
        }
}

EXPORT void dense_backward(const REAL *x, const REAL *dy, const REAL *w, REAL *dx, REAL *dw, REAL *db, index_t n, index_t features,
                           index_t units, int threads) {
    if (dx) dense_to_x(dy, w, dx, n, features, units, units, threads);
    if (dw) dense_to_w(x, dy, dw, n, features, units, units, threads);
    if (!db) return;
    for (index_t u = 0; u < units; u++) {
        double sum = 0;
        for (index_t b = 0; b < n; b++) sum += (double)dy[b * units + u];
        db[u] = (REAL)sum;
    }
}
