/* Convolutions of stride 1 over images of few channels, as they come, into channels-last tensors: x (n, channels, height, width) and
   y (n, rows, columns, out), out a multiple of STEP, at least TALL columns. Kernels are of at most MOST numbers. */

#define NUMBERS 9 /* of a kernel, whose gradients are summed at a time */

/* one image with its zeros around it, and where number t of a kernel lies in it */
static void pad_image(const REAL *x, REAL *padded, index_t channels, index_t height, index_t width, index_t pad_h, index_t pad_w) {
    index_t wide = width + 2 * pad_w, tall = height + 2 * pad_h;
    memset(padded, 0, (size_t)(channels * tall * wide) * sizeof(REAL));
    for (index_t c = 0; c < channels; c++)
        for (index_t i = 0; i < height; i++)
            memcpy(padded + (c * tall + i + pad_h) * wide + pad_w, x + (c * height + i) * width, (size_t)width * sizeof(REAL));
}

typedef struct {
    index_t channels, height, width, out, kernel_h, kernel_w, pad_h, pad_w;
} images_t;

static void places_of(const images_t *p, index_t *offsets) {
    index_t tall = p->height + 2 * p->pad_h, wide = p->width + 2 * p->pad_w, each = p->channels * p->kernel_h * p->kernel_w;
    for (index_t t = 0; t < each; t++)
        offsets[t] = t / (p->kernel_h * p->kernel_w) * tall * wide + t / p->kernel_w % p->kernel_h * wide + t % p->kernel_w;
}

/* Numbers of room: the weights transposed, and a padded image for each thread. */
EXPORT index_t images_room(const int64_t *sizes, int threads) {
    images_t p;
    memcpy(&p, sizes, sizeof p);
    index_t padded = p.channels * (p.height + 2 * p.pad_h) * (p.width + 2 * p.pad_w);
    return p.channels * p.kernel_h * p.kernel_w * p.out + threads * padded;
}

EXPORT void images_forward(const REAL *x, const REAL *w, const REAL *bias, REAL *y, REAL *room, const int64_t *sizes, index_t n, int relu,
                           int threads) {
    images_t p;
    memcpy(&p, sizes, sizeof p);
    index_t each = p.channels * p.kernel_h * p.kernel_w, wide = p.width + 2 * p.pad_w, tall = p.height + 2 * p.pad_h;
    index_t rows = tall - p.kernel_h + 1, columns = wide - p.kernel_w + 1, image = p.channels * p.height * p.width;
    index_t offsets[MOST];
    REAL *weights = room;
    places_of(&p, offsets);
    for (index_t t = 0; t < each; t++)
        for (index_t k = 0; k < p.out; k++) weights[t * p.out + k] = w[k * each + t];
#pragma omp parallel for num_threads(threads) schedule(static)
    for (index_t b = 0; b < n; b++) {
        REAL *padded = room + each * p.out + THREAD * p.channels * tall * wide;
        pad_image(x + b * image, padded, p.channels, p.height, p.width, p.pad_h, p.pad_w);
        for (index_t r = 0; r < rows; r++)
            for (index_t start = 0; start < columns; start += TALL) {
                index_t j = start + TALL <= columns ? start : columns - TALL; /* the last ones twice, rather than one by one */
                const REAL *from = padded + r * wide + j;
                REAL *to = y + ((b * rows + r) * columns + j) * p.out;
                for (index_t k = 0; k < p.out; k += WIDE * LANES) {
                    vec sums[TALL][WIDE];
                    for (int i = 0; i < TALL; i++)
                        for (int v = 0; v < WIDE; v++) sums[i][v] = bias ? LOAD(bias + k + v * LANES) : (vec){0};
                    for (index_t t = 0; t < each; t++) {
                        vec u[WIDE];
                        for (int v = 0; v < WIDE; v++) {
                            u[v] = LOAD(weights + t * p.out + k + v * LANES);
                            KEEP(u[v]);
                        }
                        for (int i = 0; i < TALL; i++)
                            for (int v = 0; v < WIDE; v++) sums[i][v] += from[offsets[t] + i] * u[v];
                    }
                    for (int i = 0; i < TALL; i++)
                        for (int v = 0; v < WIDE; v++) {
                            vec s = sums[i][v];
                            *(vec *)(to + i * p.out + k + v * LANES) = relu ? where(~(s < (vec){0}), s) : s;
                        }
                }
            }
    }
}

/* sums[t][k] and total[k] of one image, for one vector of filters k */
static inline void image_slopes(const REAL *padded, const REAL *dy, const REAL *z, double *sums, double *total, const index_t *offsets,
                                index_t each, index_t out, index_t rows, index_t columns, index_t wide, const int masked) {
    for (index_t t = 0; t < each; t += NUMBERS) {
        vec s[NUMBERS], all = (vec){0};
        const REAL *from[NUMBERS];
        for (int i = 0; i < NUMBERS; i++) s[i] = (vec){0}, from[i] = padded + offsets[t + i < each ? t + i : t];
        for (index_t r = 0; r < rows; r++)
            for (index_t j = 0; j < columns; j++) {
                index_t at = (r * columns + j) * out;
                vec d = LOAD(dy + at);
                if (masked) d = where(~(LOAD(z + at) <= (vec){0}), d);
                all += d;
                for (int i = 0; i < NUMBERS; i++) s[i] += from[i][r * wide + j] * d;
            }
        for (int i = 0; i < NUMBERS && t + i < each; i++)
            for (int l = 0; l < LANES; l++) sums[(t + i) * out + l] += (double)s[i][l];
        if (t == 0)
            for (int l = 0; l < LANES; l++) total[l] += (double)all[l];
    }
}

/* Numbers of room, the sums in double; the padded images of the threads lie behind them. */
EXPORT index_t images_backward_room(const int64_t *sizes, int threads) {
    images_t p;
    memcpy(&p, sizes, sizeof p);
    index_t padded = p.channels * (p.height + 2 * p.pad_h) * (p.width + 2 * p.pad_w);
    return GROUPS * (p.channels * p.kernel_h * p.kernel_w + 1) * p.out + threads * padded;
}

/* Gradients dw (out, channels, kernel_h, kernel_w) and db (out), or none; z is given where there is a ReLU. */
EXPORT void images_backward(const REAL *x, const REAL *dy, const REAL *z, REAL *dw, REAL *db, double *room, const int64_t *sizes,
                            index_t n, int threads) {
    images_t p;
    memcpy(&p, sizes, sizeof p);
    index_t each = p.channels * p.kernel_h * p.kernel_w, wide = p.width + 2 * p.pad_w, tall = p.height + 2 * p.pad_h;
    index_t rows = tall - p.kernel_h + 1, columns = wide - p.kernel_w + 1, image = p.channels * p.height * p.width;
    index_t offsets[MOST], size = (each + 1) * p.out;
    places_of(&p, offsets);
    memset(room, 0, (size_t)(GROUPS * size) * sizeof(double));
#pragma omp parallel for num_threads(threads) schedule(static)
    for (index_t g = 0; g < GROUPS; g++)
        for (index_t b = n * g / GROUPS; b < n * (g + 1) / GROUPS; b++) {
            REAL *padded = (REAL *)(room + GROUPS * size) + THREAD * p.channels * tall * wide;
            pad_image(x + b * image, padded, p.channels, p.height, p.width, p.pad_h, p.pad_w);
            for (index_t k = 0; k < p.out; k += LANES) {
                const REAL *from = dy + b * rows * columns * p.out + k, *seen = z + b * rows * columns * p.out + k;
                double *sums = room + g * size + k, *total = sums + each * p.out;
                if (z) image_slopes(padded, from, seen, sums, total, offsets, each, p.out, rows, columns, wide, 1);
                else image_slopes(padded, from, 0, sums, total, offsets, each, p.out, rows, columns, wide, 0);
            }
        }
    for (index_t g = 1; g < GROUPS; g++)
        for (index_t i = 0; i < size; i++) room[i] += room[g * size + i];
    for (index_t k = 0; k < p.out; k++) {
        for (index_t t = 0; t < each; t++) dw[k * each + t] = (REAL)room[t * p.out + k];
        if (db) db[k] = (REAL)room[each * p.out + k];
    }
}
