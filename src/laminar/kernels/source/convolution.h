/* Convolutions of stride 1 without padding over images of few channels, where a matrix product has too little to do. */

#define WIDEST 7 /* columns of a kernel */
#define MOST 256 /* numbers of a kernel, over all channels */
#define BLOCK 4  /* filters at a time */

/* `vectors` vectors of one row of BLOCK filters: number t of a kernel meets x[offsets[t]], and is weights[t][f] of filter f */
static inline void convolve_block(const REAL *x, const index_t *offsets, REAL (*weights)[BLOCK], const REAL *bias, index_t each,
                                  REAL *y, index_t out_plane, int filters, const int vectors) {
    vec sums[BLOCK][3];
    for (int f = 0; f < BLOCK; f++)
        for (int v = 0; v < vectors; v++) sums[f][v] = (vec){0} + bias[f];
    for (index_t t = 0; t < each; t++) {
        const REAL *from = x + offsets[t];
        vec in[3];
        for (int v = 0; v < vectors; v++) {
            in[v] = LOAD(from + v * LANES);
            KEEP(in[v]);
        }
        for (int f = 0; f < BLOCK; f++)
            for (int v = 0; v < vectors; v++) sums[f][v] += in[v] * weights[t][f];
    }
    for (int f = 0; f < filters; f++)
        for (int v = 0; v < vectors; v++) *(vec *)(y + f * out_plane + v * LANES) = sums[f][v];
}

/* the outputs of one observation and up to BLOCK filters, from w on; filters that are missing count as zero, and are not written */
static void convolve_filters(const REAL *x, const index_t *offsets, const REAL *w, const REAL *bias, index_t each, REAL *y, index_t width,
                             index_t rows, index_t columns, int filters) {
    REAL weights[MOST][BLOCK], biases[BLOCK] = {0};
    index_t out_plane = rows * columns;
    for (int f = 0; f < BLOCK; f++) {
        for (index_t t = 0; t < each; t++) weights[t][f] = f < filters ? w[f * each + t] : 0;
        if (bias && f < filters) biases[f] = bias[f];
    }
    for (index_t i = 0; i < rows; i++, x += width, y += columns) {
        index_t j = 0;
        for (; j + 3 * LANES <= columns; j += 3 * LANES)
            convolve_block(x + j, offsets, weights, biases, each, y + j, out_plane, filters, 3);
        for (; j + LANES <= columns; j += LANES)
            convolve_block(x + j, offsets, weights, biases, each, y + j, out_plane, filters, 1);
        for (; j < columns; j++)
            for (int f = 0; f < filters; f++) {
                REAL sum = biases[f];
                for (index_t t = 0; t < each; t++) sum += x[offsets[t] + j] * weights[t][f];
                y[f * out_plane + j] = sum;
            }
    }
}

EXPORT void convolve_forward(const REAL *x, const REAL *w, const REAL *bias, REAL *y, index_t n, index_t channels, index_t height,
                             index_t width, index_t out, index_t kernel_h, index_t kernel_w, int threads) {
    index_t rows = height - kernel_h + 1, columns = width - kernel_w + 1, blocks = (out + BLOCK - 1) / BLOCK;
    index_t each = channels * kernel_h * kernel_w, offsets[MOST];
    for (index_t t = 0; t < each; t++)
        offsets[t] = t / (kernel_h * kernel_w) * height * width + t / kernel_w % kernel_h * width + t % kernel_w;
#pragma omp parallel for num_threads(threads) schedule(static) collapse(2)
    for (index_t b = 0; b < n; b++)
        for (index_t block = 0; block < blocks; block++) {
            index_t o = block * BLOCK;
            int filters = out - o < BLOCK ? (int)(out - o) : BLOCK;
            convolve_filters(x + b * channels * height * width, offsets, w + o * each, bias ? bias + o : 0, each,
                             y + (b * out + o) * rows * columns, width, rows, columns, filters);
        }
}

/* sums[f, k] += the sum over positions (i, j) of dy[f, i, j] x[i, j + k], of one observation and two filters f */
#define CORRELATE(COLUMNS)                                                                                                  \
    static void correlate_##COLUMNS(const REAL *x, const REAL *dy, const REAL *dy2, double *sums, index_t width, index_t rows, \
                                    index_t columns) {                                                                      \
        vec first[COLUMNS], second[COLUMNS];                                                                                \
        REAL rest[2][COLUMNS];                                                                                              \
        for (int k = 0; k < COLUMNS; k++) first[k] = second[k] = (vec){0}, rest[0][k] = rest[1][k] = 0;                     \
        for (index_t i = 0; i < rows; i++, x += width, dy += columns, dy2 += columns) {                                     \
            index_t j = 0;                                                                                                  \
            for (; j + LANES <= columns; j += LANES) {                                                                      \
                vec d1 = LOAD(dy + j), d2 = LOAD(dy2 + j);                                                                  \
                for (int k = 0; k < COLUMNS; k++) {                                                                         \
                    vec v = LOAD(x + j + k);                                                                                \
                    KEEP(v);                                                                                                \
                    first[k] += d1 * v;                                                                                     \
                    second[k] += d2 * v;                                                                                    \
                }                                                                                                           \
            }                                                                                                               \
            for (; j < columns; j++)                                                                                        \
                for (int k = 0; k < COLUMNS; k++) rest[0][k] += dy[j] * x[j + k], rest[1][k] += dy2[j] * x[j + k];          \
        }                                                                                                                   \
        for (int k = 0; k < COLUMNS; k++) {                                                                                 \
            sums[k] += (double)(fold(first[k]) + rest[0][k]);                                                               \
            sums[COLUMNS + k] += (double)(fold(second[k]) + rest[1][k]);                                                    \
        }                                                                                                                   \
    }

CORRELATE(1)
CORRELATE(2)
CORRELATE(3)
CORRELATE(4)
CORRELATE(5)
CORRELATE(6)
CORRELATE(7)

static void (*const correlate[WIDEST + 1])(const REAL *, const REAL *, const REAL *, double *, index_t, index_t, index_t) = {
    0, correlate_1, correlate_2, correlate_3, correlate_4, correlate_5, correlate_6, correlate_7};

static REAL sum_of(const REAL *row, index_t n) {
    REAL sum = 0;
#pragma omp simd reduction(+ : sum)
    for (index_t i = 0; i < n; i++) sum += row[i];
    return sum;
}

/* Gradients of two filters and their biases. The dy of an observation is read from memory once: for the rows of the kernel it is in
   the cache. The sums over the batch are in double. */
static void convolve_to_filters(const REAL *x, const REAL *dy, REAL *dw, REAL *db, index_t n, index_t channels, index_t height,
                                index_t width, index_t out, index_t kernel_h, index_t kernel_w, index_t o) {
    index_t rows = height - kernel_h + 1, columns = width - kernel_w + 1, plane = rows * columns;
    index_t each = channels * kernel_h * kernel_w, both = o + 1 < out;
    double sums[2 * MOST], totals[2] = {0, 0};
    for (index_t i = 0; i < 2 * each; i++) sums[i] = 0;
    for (index_t b = 0; b < n; b++) {
        const REAL *one = dy + (b * out + o) * plane, *two = one + both * plane; /* a missing filter repeats the first */
        for (index_t c = 0; c < channels; c++)
            for (index_t h = 0; h < kernel_h; h++)
                correlate[kernel_w](x + ((b * channels + c) * height + h) * width, one, two, sums + (c * kernel_h + h) * 2 * kernel_w,
                                    width, rows, columns);
        if (db) totals[0] += (double)sum_of(one, plane), totals[1] += (double)sum_of(two, plane);
    }
    for (index_t f = 0; f <= both; f++) {
        for (index_t row = 0; row < channels * kernel_h; row++)
            for (index_t k = 0; k < kernel_w; k++)
                dw[(o + f) * each + row * kernel_w + k] = (REAL)sums[(2 * row + f) * kernel_w + k];
        if (db) db[o + f] = (REAL)totals[f];
    }
}

EXPORT void convolve_backward(const REAL *x, const REAL *dy, REAL *dw, REAL *db, index_t n, index_t channels, index_t height,
                              index_t width, index_t out, index_t kernel_h, index_t kernel_w, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (index_t o = 0; o < out; o += 2)
        convolve_to_filters(x, dy, dw, db, n, channels, height, width, out, kernel_h, kernel_w, o);
}
