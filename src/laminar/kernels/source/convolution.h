/* Convolutions of stride 1 without padding over images of few channels, where a matrix product has too little to do. */

#define WIDEST 7 /* columns of a kernel */
#define BLOCK 4  /* filters at a time */

/* `vectors` vectors of one row of `filters` outputs */
static inline void convolve_block(const REAL *x, const REAL *w, const REAL *bias, REAL *y, index_t channels, index_t plane,
                                  index_t width, index_t kernel_h, index_t kernel_w, index_t out_plane, int filters,
                                  const int vectors) {
    vec sums[BLOCK][3];
    index_t each = channels * kernel_h * kernel_w;
    for (int f = 0; f < BLOCK; f++)
        for (int v = 0; v < vectors; v++) sums[f][v] = (vec){0} + (bias ? bias[f < filters ? f : 0] : 0);
    for (index_t c = 0; c < channels; c++)
        for (index_t h = 0; h < kernel_h; h++) {
            const REAL *row = x + c * plane + h * width, *weights = w + (c * kernel_h + h) * kernel_w;
            for (index_t k = 0; k < kernel_w; k++) {
                vec in[3];
                for (int v = 0; v < vectors; v++) in[v] = LOAD(row + k + v * LANES);
                for (int f = 0; f < BLOCK; f++) { /* a missing filter repeats the first, and is not written */
                    REAL weight = weights[(f < filters ? f : 0) * each + k];
                    for (int v = 0; v < vectors; v++) sums[f][v] += in[v] * weight;
                }
            }
        }
    for (int f = 0; f < filters; f++)
        for (int v = 0; v < vectors; v++) *(vec *)(y + f * out_plane + v * LANES) = sums[f][v];
}

EXPORT void convolve_forward(const REAL *x, const REAL *w, const REAL *bias, REAL *y, index_t n, index_t channels, index_t height,
                             index_t width, index_t out, index_t kernel_h, index_t kernel_w, int threads) {
    index_t rows = height - kernel_h + 1, columns = width - kernel_w + 1, blocks = (out + BLOCK - 1) / BLOCK;
    index_t each = channels * kernel_h * kernel_w, plane = height * width, out_plane = rows * columns;
#pragma omp parallel for num_threads(threads) schedule(static) collapse(2)
    for (index_t b = 0; b < n; b++)
        for (index_t block = 0; block < blocks; block++) {
            index_t o = block * BLOCK;
            int filters = out - o < BLOCK ? (int)(out - o) : BLOCK;
            const REAL *weights = w + o * each, *biases = bias ? bias + o : 0;
            for (index_t i = 0; i < rows; i++) {
                const REAL *from = x + b * channels * plane + i * width;
                REAL *to = y + (b * out + o) * out_plane + i * columns;
                index_t j = 0;
                for (; j + 3 * LANES <= columns; j += 3 * LANES)
                    convolve_block(from + j, weights, biases, to + j, channels, plane, width, kernel_h, kernel_w, out_plane, filters, 3);
                for (; j + LANES <= columns; j += LANES)
                    convolve_block(from + j, weights, biases, to + j, channels, plane, width, kernel_h, kernel_w, out_plane, filters, 1);
                for (; j < columns; j++)
                    for (int f = 0; f < filters; f++) {
                        REAL sum = biases ? biases[f] : 0;
                        for (index_t c = 0; c < channels; c++)
                            for (index_t h = 0; h < kernel_h; h++)
                                for (index_t k = 0; k < kernel_w; k++)
                                    sum += from[c * plane + h * width + j + k] * weights[f * each + (c * kernel_h + h) * kernel_w + k];
                        to[f * out_plane + j] = sum;
                    }
            }
        }
}

/* sums[f, k] = the sum over batch and positions (i, j) of dy[b, f, i, j] x[b, i, j + k], of two filters f; the sums of an observation
   are in REAL, those over the batch in double. */
#define CORRELATE(COLUMNS)                                                                                                 \
    static void correlate_##COLUMNS(const REAL *x, const REAL *dy, const REAL *dy2, double *sums, index_t n, index_t x_stride, \
                                    index_t dy_stride, index_t width, index_t rows, index_t columns) {                     \
        for (index_t b = 0; b < n; b++, x += x_stride, dy += dy_stride, dy2 += dy_stride) {                                \
            vec first[COLUMNS], second[COLUMNS];                                                                           \
            REAL rest[2][COLUMNS];                                                                                         \
            for (int k = 0; k < COLUMNS; k++) first[k] = second[k] = (vec){0}, rest[0][k] = rest[1][k] = 0;                \
            for (index_t i = 0; i < rows; i++) {                                                                           \
                const REAL *image = x + i * width, *one = dy + i * columns, *two = dy2 + i * columns;                      \
                index_t j = 0;                                                                                             \
                for (; j + LANES <= columns; j += LANES) {                                                                 \
                    vec d1 = LOAD(one + j), d2 = LOAD(two + j);                                                            \
                    for (int k = 0; k < COLUMNS; k++) {                                                                    \
                        vec v = LOAD(image + j + k);                                                                       \
                        first[k] += d1 * v;                                                                                \
                        second[k] += d2 * v;                                                                               \
                    }                                                                                                      \
                }                                                                                                          \
                for (; j < columns; j++)                                                                                   \
                    for (int k = 0; k < COLUMNS; k++) rest[0][k] += one[j] * image[j + k], rest[1][k] += two[j] * image[j + k]; \
            }                                                                                                              \
            for (int k = 0; k < COLUMNS; k++) {                                                                            \
                sums[k] += (double)(fold(first[k]) + rest[0][k]);                                                          \
                sums[COLUMNS + k] += (double)(fold(second[k]) + rest[1][k]);                                               \
            }                                                                                                              \
        }                                                                                                                  \
    }

CORRELATE(1)
CORRELATE(2)
CORRELATE(3)
CORRELATE(4)
CORRELATE(5)
CORRELATE(6)
CORRELATE(7)

static void (*const correlate[WIDEST + 1])(const REAL *, const REAL *, const REAL *, double *, index_t, index_t, index_t, index_t,
                                           index_t, index_t) = {
    0, correlate_1, correlate_2, correlate_3, correlate_4, correlate_5, correlate_6, correlate_7};

EXPORT void convolve_backward(const REAL *x, const REAL *dy, REAL *dw, REAL *db, index_t n, index_t channels, index_t height,
                              index_t width, index_t out, index_t kernel_h, index_t kernel_w, int threads) {
    index_t rows = height - kernel_h + 1, columns = width - kernel_w + 1, plane = rows * columns;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (index_t task = 0; task < (out + 1) / 2 * channels * kernel_h; task++) {
        index_t h = task % kernel_h, c = task / kernel_h % channels, o = task / kernel_h / channels * 2;
        int both = o + 1 < out;
        double sums[2 * WIDEST] = {0};
        const REAL *one = dy + o * plane;
        correlate[kernel_w](x + c * height * width + h * width, one, both ? one + plane : one, sums, n, channels * height * width,
                            out * plane, width, rows, columns);
        for (int f = 0; f <= both; f++)
            for (index_t k = 0; k < kernel_w; k++)
                dw[(((o + f) * channels + c) * kernel_h + h) * kernel_w + k] = (REAL)sums[f * kernel_w + k];
    }
    if (!db) return;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (index_t o = 0; o < out; o++) {
        double total = 0;
        for (index_t b = 0; b < n; b++) {
            const REAL *row = dy + (b * out + o) * plane;
            REAL sum = 0;
#pragma omp simd reduction(+ : sum)
            for (index_t i = 0; i < plane; i++) sum += row[i];
            total += (double)sum;
        }
        db[o] = (REAL)total;
    }
}
