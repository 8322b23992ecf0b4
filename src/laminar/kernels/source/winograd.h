/* Convolutions 3×3 of stride 1 on channels-last tensors (n, height, width, channels), by the minimal filtering F(2×2, 3×3) of Winograd:
   a tile of 2×2 outputs takes 16 products for each pair of channels instead of 36. Lavin and Gray, "Fast algorithms for convolutional
   neural networks", 2015:  y = Aᵀ [(G g Gᵀ) ∘ (Bᵀ d B)] A.

   The numbers of channels, in and out, are multiples of STEP, so that no vector is cut. */

#define STEP 16                                              /* channels */
#define TILES 24                                             /* at a time: their transforms stay in the cache of a core */
#define WIDE (2 * LANES <= STEP ? 2 : 1)                     /* vectors of a row of the product held in registers */
#define TALL (12 / WIDE)                                     /* rows; TILES is a multiple */
#define GROUPS 16                                            /* parts of a batch whose gradients are summed apart, whatever the threads */

/* Where a convolution happens: `pad` zeros around each image. */
typedef struct {
    index_t n, height, width, channels, rows, columns, out, pad, down, across, tiles;
} plan_t;

static plan_t plan_of(index_t n, index_t height, index_t width, index_t channels, index_t out, index_t pad) {
    plan_t p = {n, height, width, channels, height + 2 * pad - 2, width + 2 * pad - 2, out, pad, 0, 0, 0};
    p.down = (p.rows + 1) / 2, p.across = (p.columns + 1) / 2, p.tiles = n * p.down * p.across;
    return p;
}

/* u[c][k] of each of the 16 products from the weights (out, channels, 3, 3); flipped and transposed for the gradient of the input */
static void transform_weights(const REAL *w, REAL *u, index_t channels, index_t out, const int flipped) {
    index_t from = flipped ? out : channels, to = flipped ? channels : out;
    for (index_t c = 0; c < from; c++)
        for (index_t k = 0; k < to; k++) {
            const REAL *g = w + (flipped ? c * channels + k : k * channels + c) * 9;
            REAL t[4][3];
            for (int j = 0; j < 3; j++) {
                REAL a = g[flipped ? 8 - j : j], b = g[flipped ? 5 - j : 3 + j], d = g[flipped ? 2 - j : 6 + j];
                t[0][j] = a, t[1][j] = (a + b + d) / 2, t[2][j] = (a - b + d) / 2, t[3][j] = d;
            }
            for (int i = 0; i < 4; i++) {
                REAL *to_u = u + (i * 4 * from + c) * to + k, a = t[i][0], b = t[i][1], d = t[i][2];
                to_u[0] = a, to_u[from * to] = (a + b + d) / 2, to_u[2 * from * to] = (a - b + d) / 2, to_u[3 * from * to] = d;
            }
        }
}

/* v[product][tile][c] = Bᵀ d B of tiles `first` and up; where z is given, d counts where z > 0 alone: the gradient behind a ReLU */
static inline void transform_inputs(const REAL *x, const REAL *z, REAL *v, const REAL *zeros, const plan_t *p, index_t first,
                                    index_t count, const int masked) {
    for (index_t t = 0; t < count; t++) {
        index_t tile = first + t, tx = tile % p->across, ty = tile / p->across % p->down, b = tile / p->across / p->down;
        index_t top = 2 * ty - p->pad, left = 2 * tx - p->pad, start = ((b * p->height + top) * p->width + left) * p->channels;
        int whole = top >= 0 && left >= 0 && top + 4 <= p->height && left + 4 <= p->width;
        const REAL *at[16], *seen[16];
        for (int i = 0; i < 16; i++) {
            index_t y = top + i / 4, xx = left + i % 4, offset = start + (i / 4 * p->width + i % 4) * p->channels;
            int inside = whole || (y >= 0 && y < p->height && xx >= 0 && xx < p->width);
            at[i] = inside ? x + offset : zeros;
            if (masked) seen[i] = inside ? z + offset : zeros;
        }
        for (index_t c = 0; c < p->channels; c += LANES) {
            REAL *to = v + t * p->channels + c;
            index_t next = TILES * p->channels;
            vec d[16];
            if (masked)
                for (int i = 0; i < 16; i++) d[i] = where(~(LOAD(seen[i] + c) <= (vec){0}), LOAD(at[i] + c));
            for (int i = 0; i < 4; i++, to += 4 * next) { /* a row of Bᵀ d at a time: all of it has no room in the registers */
                static const int plus[4] = {0, 1, 2, 1}, other[4] = {2, 2, 1, 3};
                vec s[4];
                for (int j = 0; j < 4; j++) {
                    int one = 4 * plus[i] + j, two = 4 * other[i] + j;
                    vec a = masked ? d[one] : LOAD(at[one] + c), b = masked ? d[two] : LOAD(at[two] + c);
                    s[j] = i == 1 ? a + b : a - b;
                }
                *(vec *)to = s[0] - s[2];
                *(vec *)(to + next) = s[1] + s[2];
                *(vec *)(to + 2 * next) = s[2] - s[1];
                *(vec *)(to + 3 * next) = s[1] - s[3];
            }
        }
    }
}

/* m (rows, out) = v (rows, in) times u (in, out); rows are rounded up to TALL */
static void multiply(const REAL *v, const REAL *u, REAL *m, index_t rows, index_t in, index_t out) {
    for (index_t k = 0; k < out; k += WIDE * LANES)
        for (index_t r = 0; r < rows; r += TALL) {
            vec sums[TALL][WIDE];
            for (int i = 0; i < TALL; i++)
                for (int j = 0; j < WIDE; j++) sums[i][j] = (vec){0};
            const REAL *from = v + r * in, *with = u + k;
            for (index_t c = 0; c < in; c++, with += out) {
                vec w[WIDE];
                for (int j = 0; j < WIDE; j++) w[j] = LOAD(with + j * LANES);
                for (int i = 0; i < TALL; i++)
                    for (int j = 0; j < WIDE; j++) sums[i][j] += from[i * in + c] * w[j];
            }
            for (int i = 0; i < TALL; i++)
                for (int j = 0; j < WIDE; j++) *(vec *)(m + (r + i) * out + k + j * LANES) = sums[i][j];
        }
}

/* y = activation(Aᵀ m A + bias) */
static inline void transform_outputs(const REAL *m, const REAL *bias, REAL *y, const plan_t *p, index_t first, index_t count,
                                     const int relu) {
    for (index_t t = 0; t < count; t++) {
        index_t tile = first + t, tx = tile % p->across, ty = tile / p->across % p->down, b = tile / p->across / p->down;
        REAL *to = y + ((b * p->rows + 2 * ty) * p->columns + 2 * tx) * p->out;
        int low = 2 * ty + 1 < p->rows, right = 2 * tx + 1 < p->columns;
        for (index_t k = 0; k < p->out; k += LANES) {
            vec s[8], z[4], add = bias ? LOAD(bias + k) : (vec){0};
            for (int j = 0; j < 4; j++) {
                vec c[4];
                for (int i = 0; i < 4; i++) c[i] = LOAD(m + ((4 * i + j) * TILES + t) * p->out + k);
                s[j] = c[0] + c[1] + c[2], s[4 + j] = c[1] - c[2] - c[3];
            }
            for (int i = 0; i < 2; i++) {
                z[2 * i] = s[4 * i] + s[4 * i + 1] + s[4 * i + 2] + add;
                z[2 * i + 1] = s[4 * i + 1] - s[4 * i + 2] - s[4 * i + 3] + add;
            }
            if (relu)
                for (int i = 0; i < 4; i++) z[i] = where(~(z[i] < (vec){0}), z[i]);
            *(vec *)(to + k) = z[0];
            if (right) *(vec *)(to + p->out + k) = z[1];
            if (low) *(vec *)(to + p->columns * p->out + k) = z[2];
            if (low && right) *(vec *)(to + (p->columns + 1) * p->out + k) = z[3];
        }
    }
}

/* Numbers of room that a convolution works in, for each thread, and beside that once. */
EXPORT index_t winograd_room(index_t channels, index_t out, int threads) {
    return 16 * channels * out + (channels > out ? channels : out) + (index_t)threads * 16 * TILES * (channels + out);
}

/* y (n, rows, columns, out) of x (n, height, width, channels). With `flipped` the weights are those of the layer whose output's
   gradient x is, and y is the gradient of its input; z, its output, is then given where it has a ReLU. */
EXPORT void winograd_forward(const REAL *x, const REAL *z, const REAL *w, const REAL *bias, REAL *y, REAL *room, index_t n,
                             index_t height, index_t width, index_t channels, index_t out, index_t pad, int flipped, int relu,
                             int threads) {
    plan_t p = plan_of(n, height, width, channels, out, pad);
    REAL *u = room, *zeros = u + 16 * channels * out, *own = zeros + (channels > out ? channels : out);
    if (flipped) transform_weights(w, u, out, channels, 1);
    else transform_weights(w, u, channels, out, 0);
    memset(zeros, 0, (size_t)channels * sizeof(REAL));
#pragma omp parallel num_threads(threads)
    {
        REAL *v = own + THREAD * 16 * TILES * (channels + out), *m = v + 16 * TILES * channels;
        memset(v, 0, (size_t)(16 * TILES * channels) * sizeof(REAL)); /* rows that are rounded up to are numbers */
#pragma omp for schedule(static)
        for (index_t first = 0; first < p.tiles; first += TILES) {
            index_t count = p.tiles - first < TILES ? p.tiles - first : TILES;
            if (z) transform_inputs(x, z, v, zeros, &p, first, count, 1);
            else transform_inputs(x, 0, v, zeros, &p, first, count, 0);
            for (int i = 0; i < 16; i++)
                multiply(v + i * TILES * channels, u + i * channels * out, m + i * TILES * out, count, channels, out);
            if (relu) transform_outputs(m, bias, y, &p, first, count, 1);
            else transform_outputs(m, bias, y, &p, first, count, 0);
        }
    }
}

/* d[product][tile][k] = A dy Aᵀ of tiles `first` and up; the sums of dy are added to db */
static inline void transform_slopes(const REAL *dy, const REAL *z, REAL *d, REAL *db, const REAL *zeros, const plan_t *p, index_t first,
                                    index_t count, const int masked) {
    for (index_t t = 0; t < count; t++) {
        index_t tile = first + t, tx = tile % p->across, ty = tile / p->across % p->down, b = tile / p->across / p->down;
        const REAL *at[4], *seen[4];
        for (int i = 0; i < 4; i++) {
            index_t y = 2 * ty + i / 2, xx = 2 * tx + i % 2, offset = ((b * p->rows + y) * p->columns + xx) * p->out;
            int inside = y < p->rows && xx < p->columns;
            at[i] = inside ? dy + offset : zeros;
            if (masked) seen[i] = inside ? z + offset : zeros;
        }
        for (index_t k = 0; k < p->out; k += LANES) {
            vec g[4], s[8];
            for (int i = 0; i < 4; i++) {
                g[i] = LOAD(at[i] + k);
                if (masked) g[i] = where(~(LOAD(seen[i] + k) <= (vec){0}), g[i]);
            }
            *(vec *)(db + k) += (g[0] + g[1]) + (g[2] + g[3]);
            for (int j = 0; j < 2; j++) s[j] = g[j], s[2 + j] = g[j] + g[2 + j], s[4 + j] = g[j] - g[2 + j], s[6 + j] = -g[2 + j];
            REAL *to = d + t * p->out + k;
            index_t next = TILES * p->out;
            for (int i = 0; i < 4; i++, to += 4 * next) {
                *(vec *)to = s[2 * i];
                *(vec *)(to + next) = s[2 * i] + s[2 * i + 1];
                *(vec *)(to + 2 * next) = s[2 * i] - s[2 * i + 1];
                *(vec *)(to + 3 * next) = -s[2 * i + 1];
            }
        }
    }
}

/* u (in, out) += v (rows, in) transposed times d (rows, out) */
static void multiply_slopes(const REAL *v, const REAL *d, REAL *u, index_t rows, index_t in, index_t out) {
    for (index_t k = 0; k < out; k += WIDE * LANES)
        for (index_t c = 0; c < in; c += 4) {
            vec sums[4][WIDE];
            for (int i = 0; i < 4; i++)
                for (int j = 0; j < WIDE; j++) sums[i][j] = LOAD(u + (c + i) * out + k + j * LANES);
            const REAL *from = v + c, *with = d + k;
            for (index_t r = 0; r < rows; r++, from += in, with += out) {
                vec w[WIDE];
                for (int j = 0; j < WIDE; j++) w[j] = LOAD(with + j * LANES);
                for (int i = 0; i < 4; i++)
                    for (int j = 0; j < WIDE; j++) sums[i][j] += from[i] * w[j];
            }
            for (int i = 0; i < 4; i++)
                for (int j = 0; j < WIDE; j++) *(vec *)(u + (c + i) * out + k + j * LANES) = sums[i][j];
        }
}

/* dw (out, channels, 3, 3) = Gᵀ u G */
static void transform_back(const REAL *u, REAL *dw, index_t channels, index_t out) {
    for (index_t c = 0; c < channels; c++)
        for (index_t k = 0; k < out; k++) {
            REAL t[3][4], *to = dw + (k * channels + c) * 9;
            for (int j = 0; j < 4; j++) {
                const REAL *from = u + (j * channels + c) * out + k;
                index_t next = 4 * channels * out;
                REAL a = from[0], b = from[next], d = from[2 * next], e = from[3 * next];
                t[0][j] = a + (b + d) / 2, t[1][j] = (b - d) / 2, t[2][j] = (b + d) / 2 + e;
            }
            for (int i = 0; i < 3; i++) {
                REAL *row = to + 3 * i, both = (t[i][1] + t[i][2]) / 2;
                row[0] = t[i][0] + both, row[1] = (t[i][1] - t[i][2]) / 2, row[2] = both + t[i][3];
            }
        }
}

EXPORT index_t winograd_backward_room(index_t channels, index_t out, int threads) {
    return GROUPS * (16 * channels * out + out) + (channels > out ? channels : out) + (index_t)threads * 16 * TILES * (channels + out);
}

/* Gradients dw (out, channels, 3, 3) and db (out), or none, from x (n, height, width, channels), dy (n, rows, columns, out), and z, the
   output, where there is a ReLU. Each of GROUPS parts of the tiles is summed by itself; then these sums. */
EXPORT void winograd_backward(const REAL *x, const REAL *dy, const REAL *z, REAL *dw, REAL *db, REAL *room, index_t n, index_t height,
                              index_t width, index_t channels, index_t out, index_t pad, int threads) {
    plan_t p = plan_of(n, height, width, channels, out, pad);
    index_t most = channels > out ? channels : out, size = 16 * channels * out, part = (p.tiles + GROUPS - 1) / GROUPS;
    REAL *sums = room, *sums_b = sums + GROUPS * size, *zeros = sums_b + GROUPS * out, *own = zeros + most;
    memset(room, 0, (size_t)(GROUPS * (size + out) + most) * sizeof(REAL));
#pragma omp parallel num_threads(threads)
    {
        REAL *v = own + THREAD * 16 * TILES * (channels + out), *d = v + 16 * TILES * channels;
#pragma omp for schedule(static)
        for (index_t g = 0; g < GROUPS; g++)
            for (index_t first = g * part; first < (g + 1) * part && first < p.tiles; first += TILES) {
                index_t end = (g + 1) * part < p.tiles ? (g + 1) * part : p.tiles, count = end - first < TILES ? end - first : TILES;
                transform_inputs(x, 0, v, zeros, &p, first, count, 0);
                if (z) transform_slopes(dy, z, d, sums_b + g * out, zeros, &p, first, count, 1);
                else transform_slopes(dy, 0, d, sums_b + g * out, zeros, &p, first, count, 0);
                for (int i = 0; i < 16; i++)
                    multiply_slopes(v + i * TILES * channels, d + i * TILES * out, sums + g * size + i * channels * out, count,
                                    channels, out);
            }
#pragma omp for schedule(static)
        for (index_t i = 0; i < size; i++) {
            double sum = 0;
            for (int g = 0; g < GROUPS; g++) sum += (double)sums[g * size + i];
            sums[i] = (REAL)sum;
        }
    }
    transform_back(sums, dw, channels, out);
    if (db)
        for (index_t k = 0; k < out; k++) {
            double sum = 0;
            for (int g = 0; g < GROUPS; g++) sum += (double)sums_b[g * out + k];
            db[k] = (REAL)sum;
        }
}
