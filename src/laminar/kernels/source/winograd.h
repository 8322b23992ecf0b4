/* Convolutions 3×3 of stride 1 on channels-last tensors (n, height, width, channels), by the minimal filtering F(4×4, 3×3) of Winograd:
   a tile of 4×4 outputs takes 36 products for each pair of channels instead of 144. Lavin and Gray, "Fast algorithms for convolutional
   neural networks", 2015:  y = Aᵀ [(G g Gᵀ) ∘ (Bᵀ d B)] A.

   The numbers of channels, in and out, are multiples of STEP, so that no vector is cut. */

#define STEP 16                         /* channels */
#define WIDE (2 * LANES <= STEP ? 2 : 1) /* vectors of a row of the product held in registers */
#define TALL (12 / WIDE)                /* rows */
#define TILE 4                          /* outputs of a tile, each way */
#define SIDE 6                          /* inputs of a tile, each way: TILE + 3 - 1 */
#define PRODUCTS (SIDE * SIDE)
#define GROUPS 16 /* at most so many parts of a batch have their gradients summed apart, whatever the threads */

/* Where a convolution happens: `pad` zeros around each image; `batch` tiles at a time, whose transforms stay in the cache of a core. */
typedef struct {
    index_t height, width, channels, rows, columns, out, pad, down, across, tiles, batch;
} plan_t;

/* Multiples of TALL, measured. Backward it is the sums that are best not taken out of the cache, and put back, too often. */
static index_t tiles_forward(index_t channels, index_t out) { return channels + out <= 64 ? 24 : 12; }
#define TILES_BACKWARD 48

static plan_t plan_of(index_t n, index_t height, index_t width, index_t channels, index_t out, index_t pad, index_t batch) {
    plan_t p = {height, width, channels, height + 2 * pad - 2, width + 2 * pad - 2, out, pad, 0, 0, 0, batch};
    p.down = (p.rows + TILE - 1) / TILE, p.across = (p.columns + TILE - 1) / TILE, p.tiles = n * p.down * p.across;
    return p;
}

/* Bᵀ, A and G times a column, and Aᵀ and Gᵀ */
static inline void inputs_of(const vec *d, index_t step, vec *s) {
    vec a = d[4 * step] - 4 * d[2 * step], b = d[3 * step] - 4 * d[step], c = d[4 * step] - d[2 * step], e = 2 * (d[3 * step] - d[step]);
    s[0] = 4 * d[0] - 5 * d[2 * step] + d[4 * step];
    s[1] = a + b, s[2] = a - b, s[3] = c + e, s[4] = c - e;
    s[5] = 4 * d[step] - 5 * d[3 * step] + d[5 * step];
}

static inline void outputs_of(const vec *m, index_t step, vec *y) {
    vec a = m[step] + m[2 * step], b = m[step] - m[2 * step], c = m[3 * step] + m[4 * step], e = m[3 * step] - m[4 * step];
    y[0] = m[0] + a + c, y[1] = b + 2 * e, y[2] = a + 4 * c, y[3] = b + 8 * e + m[5 * step];
}

static inline void slopes_of(const vec *g, index_t step, vec *s) {
    vec even = g[0] + g[2 * step], odd = g[step] + g[3 * step], far = g[0] + 4 * g[2 * step], other = 2 * g[step] + 8 * g[3 * step];
    s[0] = g[0], s[1] = even + odd, s[2] = even - odd, s[3] = far + other, s[4] = far - other, s[5] = g[3 * step];
}

static inline void weights_of(const vec *g, index_t step, vec *s) {
    const REAL sixth = (REAL)(1.0 / 6), twelfth = (REAL)(1.0 / 12), last = (REAL)(1.0 / 24);
    vec outer = sixth * (g[0] + g[2 * step]), far = last * g[0] + sixth * g[2 * step], b = sixth * g[step], e = twelfth * g[step];
    s[0] = g[0] / 4, s[1] = -outer - b, s[2] = b - outer, s[3] = far + e, s[4] = far - e, s[5] = g[2 * step];
}

static inline void kernels_of(const vec *u, index_t step, vec *s) {
    const REAL sixth = (REAL)(1.0 / 6), twelfth = (REAL)(1.0 / 12), last = (REAL)(1.0 / 24);
    vec a = u[step] + u[2 * step], b = u[step] - u[2 * step], c = u[3 * step] + u[4 * step], e = u[3 * step] - u[4 * step];
    s[0] = u[0] / 4 - sixth * a + last * c, s[1] = twelfth * e - sixth * b, s[2] = sixth * (c - a) + u[5 * step];
}

/* u[product][c][k] from the weights (out, channels, 3, 3); flipped and transposed for the gradient of the input. `room` is for 9 of them. */
static void transform_weights(const REAL *w, REAL *u, REAL *room, index_t channels, index_t out, int flipped, int threads) {
    index_t from = flipped ? out : channels, to = flipped ? channels : out;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (index_t c = 0; c < from; c++)
        for (index_t k = 0; k < to; k++) {
            const REAL *g = w + (flipped ? c * channels + k : k * channels + c) * 9;
            for (int i = 0; i < 9; i++) room[(i * from + c) * to + k] = g[flipped ? 8 - i : i];
        }
#pragma omp parallel for num_threads(threads) schedule(static)
    for (index_t at = 0; at < from * to; at += LANES) {
        vec g[9], t[18], s[SIDE];
        for (int i = 0; i < 9; i++) g[i] = LOAD(room + i * from * to + at);
        for (int j = 0; j < 3; j++) {
            weights_of(g + j, 3, s);
            for (int i = 0; i < SIDE; i++) t[3 * i + j] = s[i];
        }
        for (int i = 0; i < SIDE; i++) {
            weights_of(t + 3 * i, 1, s);
            for (int j = 0; j < SIDE; j++) *(vec *)(u + (i * SIDE + j) * from * to + at) = s[j];
        }
    }
}

/* v[product][tile][c] = Bᵀ d B of tiles `first` and up; where z is given, d counts where z > 0 alone: the gradient behind a ReLU */
static inline void transform_inputs(const REAL *x, const REAL *z, REAL *v, const REAL *zeros, const plan_t *p, index_t first,
                                    index_t count, const int masked) {
    for (index_t t = 0; t < count; t++) {
        index_t tile = first + t, tx = tile % p->across, ty = tile / p->across % p->down, b = tile / p->across / p->down;
        index_t top = TILE * ty - p->pad, left = TILE * tx - p->pad, start = ((b * p->height + top) * p->width + left) * p->channels;
        int whole = top >= 0 && left >= 0 && top + SIDE <= p->height && left + SIDE <= p->width;
        const REAL *at[PRODUCTS];
        index_t seen = z - x; /* both are of one shape */
        for (int i = 0; i < PRODUCTS; i++) {
            index_t y = top + i / SIDE, xx = left + i % SIDE;
            int inside = whole || (y >= 0 && y < p->height && xx >= 0 && xx < p->width);
            at[i] = inside ? x + start + (i / SIDE * p->width + i % SIDE) * p->channels : 0;
        }
        for (index_t c = 0; c < p->channels; c += LANES) {
            vec s[PRODUCTS], d[SIDE];
            for (int j = 0; j < SIDE; j++) {
                for (int i = 0; i < SIDE; i++) {
                    const REAL *from = at[i * SIDE + j];
                    d[i] = LOAD(from ? from + c : zeros);
                    if (masked) d[i] = where(~(LOAD(from ? from + seen + c : zeros) <= (vec){0}), d[i]);
                }
                inputs_of(d, 1, s + j * SIDE);
            }
            REAL *to = v + t * p->channels + c;
            index_t next = p->batch * p->channels;
            for (int i = 0; i < SIDE; i++) {
                inputs_of(s + i, SIDE, d);
                for (int j = 0; j < SIDE; j++, to += next) *(vec *)to = d[j];
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
                for (int j = 0; j < WIDE; j++) {
                    w[j] = LOAD(with + j * LANES);
                    KEEP(w[j]);
                }
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
        REAL *to = y + ((b * p->rows + TILE * ty) * p->columns + TILE * tx) * p->out;
        index_t low = p->rows - TILE * ty < TILE ? p->rows - TILE * ty : TILE;
        index_t right = p->columns - TILE * tx < TILE ? p->columns - TILE * tx : TILE;
        for (index_t k = 0; k < p->out; k += LANES) {
            vec s[SIDE * TILE], c[SIDE], z[TILE], add = bias ? LOAD(bias + k) : (vec){0};
            for (int j = 0; j < SIDE; j++) {
                for (int i = 0; i < SIDE; i++) c[i] = LOAD(m + ((i * SIDE + j) * p->batch + t) * p->out + k);
                outputs_of(c, 1, s + j * TILE);
            }
            for (int i = 0; i < low; i++) {
                outputs_of(s + i, TILE, z);
                for (int j = 0; j < TILE; j++) {
                    z[j] += add;
                    if (relu) z[j] = where(~(z[j] < (vec){0}), z[j]);
                    if (j < right) *(vec *)(to + (i * p->columns + j) * p->out + k) = z[j];
                }
            }
        }
    }
}

/* Numbers of room for a convolution: once, and for each thread. */
EXPORT index_t winograd_room(index_t channels, index_t out, int threads) {
    return (PRODUCTS + 9) * channels * out + LANES + (index_t)threads * PRODUCTS * tiles_forward(channels, out) * (channels + out);
}

/* y (n, rows, columns, out) of x (n, height, width, channels). With `flipped` the weights are those of the layer whose output's
   gradient x is, and y is the gradient of its input; z, its output, is then given where it has a ReLU. */
EXPORT void winograd_forward(const REAL *x, const REAL *z, const REAL *w, const REAL *bias, REAL *y, REAL *room, index_t n,
                             index_t height, index_t width, index_t channels, index_t out, index_t pad, int flipped, int relu,
                             int threads) {
    plan_t p = plan_of(n, height, width, channels, out, pad, tiles_forward(channels, out));
    REAL *u = room, *zeros = u + (PRODUCTS + 9) * channels * out, *own = zeros + LANES;
    transform_weights(w, u, u + PRODUCTS * channels * out, flipped ? out : channels, flipped ? channels : out, flipped, threads);
    memset(zeros, 0, (size_t)LANES * sizeof(REAL));
#pragma omp parallel num_threads(threads)
    {
        REAL *v = own + THREAD * PRODUCTS * p.batch * (channels + out), *m = v + PRODUCTS * p.batch * channels;
        memset(v, 0, (size_t)(PRODUCTS * p.batch * channels) * sizeof(REAL)); /* rows that are rounded up to are numbers */
#pragma omp for schedule(static)
        for (index_t first = 0; first < p.tiles; first += p.batch) {
            index_t count = p.tiles - first < p.batch ? p.tiles - first : p.batch;
            if (z) transform_inputs(x, z, v, zeros, &p, first, count, 1);
            else transform_inputs(x, 0, v, zeros, &p, first, count, 0);
            for (int i = 0; i < PRODUCTS; i++)
                multiply(v + i * p.batch * channels, u + i * channels * out, m + i * p.batch * out, count, channels, out);
            if (relu) transform_outputs(m, bias, y, &p, first, count, 1);
            else transform_outputs(m, bias, y, &p, first, count, 0);
        }
    }
}

/* d[product][tile][k] = A dy Aᵀ of tiles `first` and up; the sums of dy are added to db */
static inline void transform_slopes(const REAL *dy, const REAL *z, REAL *d, REAL *db, const plan_t *p, index_t first, index_t count,
                                    const int masked) {
    for (index_t t = 0; t < count; t++) {
        index_t tile = first + t, tx = tile % p->across, ty = tile / p->across % p->down, b = tile / p->across / p->down;
        index_t start = ((b * p->rows + TILE * ty) * p->columns + TILE * tx) * p->out;
        index_t low = p->rows - TILE * ty, right = p->columns - TILE * tx;
        for (index_t k = 0; k < p->out; k += LANES) {
            vec g[TILE], s[SIDE * TILE], e[SIDE], sum = LOAD(db + k);
            for (int j = 0; j < TILE; j++) {
                for (int i = 0; i < TILE; i++) {
                    index_t at = start + (i * p->columns + j) * p->out + k;
                    g[i] = i < low && j < right ? LOAD(dy + at) : (vec){0};
                    if (masked && i < low && j < right) g[i] = where(~(LOAD(z + at) <= (vec){0}), g[i]);
                }
                sum += (g[0] + g[1]) + (g[2] + g[3]);
                slopes_of(g, 1, s + j * SIDE);
            }
            *(vec *)(db + k) = sum;
            REAL *to = d + t * p->out + k;
            for (int i = 0; i < SIDE; i++) {
                slopes_of(s + i, SIDE, e);
                for (int j = 0; j < SIDE; j++, to += p->batch * p->out) *(vec *)to = e[j];
            }
        }
    }
}

/* u (in, columns) += v (rows, in) transposed times d (rows, columns); rows of u are `out` apart, those of d `apart` */
static void multiply_slopes(const REAL *v, const REAL *d, REAL *u, index_t rows, index_t in, index_t out, index_t columns,
                            index_t apart) {
    for (index_t k = 0; k < columns; k += WIDE * LANES)
        for (index_t c = 0; c < in; c += 4) {
            vec sums[4][WIDE];
            for (int i = 0; i < 4; i++)
                for (int j = 0; j < WIDE; j++) sums[i][j] = LOAD(u + (c + i) * out + k + j * LANES);
            const REAL *from = v + c, *with = d + k;
            for (index_t r = 0; r < rows; r++, from += in, with += apart) {
                vec w[WIDE];
                for (int j = 0; j < WIDE; j++) {
                    w[j] = LOAD(with + j * LANES);
                    KEEP(w[j]);
                }
                for (int i = 0; i < 4; i++)
                    for (int j = 0; j < WIDE; j++) sums[i][j] += from[i] * w[j];
            }
            for (int i = 0; i < 4; i++)
                for (int j = 0; j < WIDE; j++) *(vec *)(u + (c + i) * out + k + j * LANES) = sums[i][j];
        }
}

/* g[number][c][k] = Gᵀ u G */
static void transform_back(const REAL *u, REAL *g, index_t size) {
    for (index_t at = 0; at < size; at += LANES) {
        vec c[SIDE], t[3 * SIDE], s[3];
        for (int j = 0; j < SIDE; j++) {
            for (int i = 0; i < SIDE; i++) c[i] = LOAD(u + (i * SIDE + j) * size + at);
            kernels_of(c, 1, t + 3 * j);
        }
        for (int i = 0; i < 3; i++) {
            kernels_of(t + i, 3, s);
            for (int j = 0; j < 3; j++) *(vec *)(g + (3 * i + j) * size + at) = s[j];
        }
    }
}

/* at most how many parts: fewer where the sums of each are large, so that they take some 16 MB in all */
static index_t parts_of(index_t channels, index_t out) {
    index_t most = ((index_t)1 << 22) / (9 * channels * out) / 2 * 2;
    return most < 4 ? 4 : most < GROUPS ? most : GROUPS;
}

EXPORT index_t winograd_backward_room(index_t channels, index_t out, int threads) {
    index_t own = PRODUCTS * (channels * out + TILES_BACKWARD * (channels + out));
    return parts_of(channels, out) * (9 * channels * out + out) + LANES + (index_t)threads * own;
}

/* Gradients dw (out, channels, 3, 3) and db (out), or none, from x (n, height, width, channels), dy (n, rows, columns, out), and z, the
   output, where there is a ReLU. Each of some parts of the tiles is summed by itself; then these sums. */
EXPORT void winograd_backward(const REAL *x, const REAL *dy, const REAL *z, REAL *dw, REAL *db, REAL *room, index_t n, index_t height,
                              index_t width, index_t channels, index_t out, index_t pad, int threads) {
    plan_t p = plan_of(n, height, width, channels, out, pad, TILES_BACKWARD);
    index_t size = channels * out, most = parts_of(channels, out);
    index_t even = p.tiles / p.batch / 2 * 2, groups = even < 2 ? 2 : even < most ? even : most;
    index_t part = (p.tiles + groups - 1) / groups;
    REAL *sums = room, *sums_b = sums + most * 9 * size, *zeros = sums_b + most * out, *own = zeros + LANES;
    memset(sums_b, 0, (size_t)(most * out + LANES) * sizeof(REAL));
#pragma omp parallel num_threads(threads)
    {
        REAL *u = own + THREAD * PRODUCTS * (size + p.batch * (channels + out));
        REAL *v = u + PRODUCTS * size, *d = v + PRODUCTS * p.batch * channels;
#pragma omp for schedule(static)
        for (index_t g = 0; g < groups; g++) {
            index_t end = (g + 1) * part < p.tiles ? (g + 1) * part : p.tiles;
            memset(u, 0, (size_t)(PRODUCTS * size) * sizeof(REAL));
            for (index_t first = g * part; first < end; first += p.batch) {
                index_t count = end - first < p.batch ? end - first : p.batch;
                transform_inputs(x, 0, v, zeros, &p, first, count, 0);
                if (z) transform_slopes(dy, z, d, sums_b + g * out, &p, first, count, 1);
                else transform_slopes(dy, 0, d, sums_b + g * out, &p, first, count, 0);
                for (int i = 0; i < PRODUCTS; i++)
                    multiply_slopes(v + i * p.batch * channels, d + i * p.batch * out, u + i * size, count, channels, out, out, out);
            }
            transform_back(u, sums + g * 9 * size, size);
        }
#pragma omp for schedule(static)
        for (index_t c = 0; c < channels; c++)
            for (index_t k = 0; k < out; k++)
                for (int i = 0; i < 9; i++) {
                    double sum = 0;
                    for (int g = 0; g < groups; g++) sum += (double)sums[(g * 9 + i) * size + c * out + k];
                    dw[(k * channels + c) * 9 + i] = (REAL)sum;
                }
    }
    if (db)
        for (index_t k = 0; k < out; k++) {
            double sum = 0;
            for (int g = 0; g < groups; g++) sum += (double)sums_b[g * out + k];
            db[k] = (REAL)sum;
        }
}
