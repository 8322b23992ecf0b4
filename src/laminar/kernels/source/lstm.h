/* Long short-term memory over whole sequences: x (n, steps, features), gates in torch's order: input, forget, cell, output.

   Sequences do not meet: a thread takes some of them through all steps, and its products stay in its cache. What a step reads lies in
   one row: the features, zeros up to a multiple of STEP, and the h of the step before. `units` is a multiple of STEP. */

#define STEPS 16 /* whose slopes are kept before they are multiplied by what the steps have read */
#define PARTS_OF_BATCH 16

typedef struct {
    index_t n, steps, features, units;
} sequences_t;

typedef struct {
    index_t n, steps, features, units, wide, read, gates, rows, chunks;
} lstm_t;

static lstm_t lstm_of(const int64_t *sizes) {
    sequences_t s;
    memcpy(&s, sizes, sizeof s);
    lstm_t p = {s.n, s.steps, s.features, s.units, (s.features + STEP - 1) / STEP * STEP, 0, 4 * s.units, 0, 0};
    p.read = p.wide + p.units;
    index_t each = (p.n + PARTS_OF_BATCH - 1) / PARTS_OF_BATCH;
    p.rows = (each + TALL - 1) / TALL * TALL; /* as `multiply` takes them */
    p.chunks = (p.n + p.rows - 1) / p.rows;
    return p;
}

static inline REAL sigmoid(REAL x) {
    REAL e = expm1_below(x > 0 ? -x : x) + 1;
    return (x > 0 ? 1 : e) / (1 + e);
}

static inline REAL hyperbolic(REAL x) {
    REAL e = expm1_below(x > 0 ? -2 * x : 2 * x), t = -e / (2 + e);
    return x > 0 ? t : -t;
}

EXPORT index_t lstm_room(const int64_t *sizes, int threads) {
    lstm_t p = lstm_of(sizes);
    return p.read * p.gates + threads * p.rows * (p.read + p.gates);
}

/* the row that sequence b reads in step t */
static inline void lstm_reads(const lstm_t *p, const REAL *x, const REAL *h0, const REAL *out, index_t b, index_t t, REAL *row) {
    memcpy(row, x + (b * p->steps + t) * p->features, (size_t)p->features * sizeof(REAL));
    memset(row + p->features, 0, (size_t)(p->wide - p->features) * sizeof(REAL));
    memcpy(row + p->wide, t ? out + (b * p->steps + t - 1) * p->units : h0 + b * p->units, (size_t)p->units * sizeof(REAL));
}

/* One step of one sequence: the gates are `sums` with the bias, activated. */
static inline void lstm_cell(const REAL *restrict sums, const REAL *restrict bias, const REAL *restrict before, REAL *restrict c,
                             REAL *restrict h, REAL *restrict gates, index_t units) {
#pragma omp simd
    for (index_t u = 0; u < units; u++) {
        REAL i = sigmoid(sums[u] + (bias ? bias[u] : 0)), f = sigmoid(sums[units + u] + (bias ? bias[units + u] : 0));
        REAL g = hyperbolic(sums[2 * units + u] + (bias ? bias[2 * units + u] : 0));
        REAL o = sigmoid(sums[3 * units + u] + (bias ? bias[3 * units + u] : 0));
        REAL now = f * before[u] + i * g;
        c[u] = now;
        h[u] = o * hyperbolic(now);
        gates[u] = i, gates[units + u] = f, gates[2 * units + u] = g, gates[3 * units + u] = o;
    }
}

/* out (n, steps, units); cells and gates of all steps, for the way back: (n, steps, units) and (n, steps, 4 units) */
EXPORT void lstm_forward(const REAL *x, const REAL *h0, const REAL *c0, const REAL *w_ih, const REAL *w_hh, const REAL *bias, REAL *out,
                         REAL *cells, REAL *gates, REAL *room, const int64_t *sizes, int threads) {
    lstm_t p = lstm_of(sizes);
    REAL *w = room;
    memset(w, 0, (size_t)(p.wide * p.gates) * sizeof(REAL));
    for (index_t k = 0; k < p.gates; k++) {
        for (index_t i = 0; i < p.features; i++) w[i * p.gates + k] = w_ih[k * p.features + i];
        for (index_t i = 0; i < p.units; i++) w[(p.wide + i) * p.gates + k] = w_hh[k * p.units + i];
    }
#pragma omp parallel for num_threads(threads) schedule(static)
    for (index_t chunk = 0; chunk < p.chunks; chunk++) {
        index_t first = chunk * p.rows, count = p.n - first < p.rows ? p.n - first : p.rows;
        REAL *read = room + p.read * p.gates + THREAD * p.rows * (p.read + p.gates), *sums = read + p.rows * p.read;
        memset(read, 0, (size_t)(p.rows * p.read) * sizeof(REAL));
        for (index_t t = 0; t < p.steps; t++) {
            for (index_t r = 0; r < count; r++) lstm_reads(&p, x, h0, out, first + r, t, read + r * p.read);
            multiply(read, w, sums, count, p.read, p.gates);
            for (index_t r = 0; r < count; r++) {
                index_t at = (first + r) * p.steps + t;
                const REAL *before = t ? cells + (at - 1) * p.units : c0 + (first + r) * p.units;
                lstm_cell(sums + r * p.gates, bias, before, cells + at * p.units, out + at * p.units, gates + at * p.gates, p.units);
            }
        }
    }
}

/* The slopes of the sums behind the gates, from those of h and c after the step; dc then is that of c before it. */
static inline void lstm_slopes(const REAL *restrict gates, const REAL *restrict before, const REAL *restrict now, const REAL *restrict dh,
                               REAL *restrict dc, REAL *restrict slopes, index_t units) {
#pragma omp simd
    for (index_t u = 0; u < units; u++) {
        REAL i = gates[u], f = gates[units + u], g = gates[2 * units + u], o = gates[3 * units + u], bent = hyperbolic(now[u]);
        REAL d = dc[u] + dh[u] * o * (1 - bent * bent);
        slopes[u] = d * g * i * (1 - i);
        slopes[units + u] = d * before[u] * f * (1 - f);
        slopes[2 * units + u] = d * i * (1 - g * g);
        slopes[3 * units + u] = dh[u] * bent * o * (1 - o);
        dc[u] = d * f;
    }
}

static index_t lstm_own(const lstm_t *p) { return p->rows * (STEPS * (p->gates + p->read) + p->read + 2 * p->units + p->gates); }

EXPORT index_t lstm_backward_room(const int64_t *sizes, int threads) {
    lstm_t p = lstm_of(sizes);
    return p.gates * p.read + p.chunks * (p.read + 1) * p.gates + threads * lstm_own(&p);
}

/* Gradients from those of out, (n, steps, units), and of the last c, (n, units); dx may be missing. */
EXPORT void lstm_backward(const REAL *x, const REAL *h0, const REAL *c0, const REAL *w_ih, const REAL *w_hh, const REAL *out,
                          const REAL *cells, const REAL *gates, const REAL *dout, const REAL *dlast, REAL *dx, REAL *dh0, REAL *dc0,
                          REAL *dw_ih, REAL *dw_hh, REAL *db, REAL *room, const int64_t *sizes, int threads) {
    lstm_t p = lstm_of(sizes);
    REAL *w = room, *dw = w + p.gates * p.read, *sum_b = dw + p.chunks * p.read * p.gates, *all = sum_b + p.chunks * p.gates;
    /* without dx, what is read of x needs no slopes: h comes first, and the product ends there */
    index_t wanted = dx ? p.read : p.units;
    for (index_t k = 0; k < p.gates; k++) {
        REAL *to = w + k * wanted;
        memcpy(to, w_hh + k * p.units, (size_t)p.units * sizeof(REAL));
        if (!dx) continue;
        memcpy(to + p.units, w_ih + k * p.features, (size_t)p.features * sizeof(REAL));
        memset(to + p.units + p.features, 0, (size_t)(p.wide - p.features) * sizeof(REAL));
    }
    memset(dw, 0, (size_t)(p.chunks * (p.read + 1) * p.gates) * sizeof(REAL));
#pragma omp parallel for num_threads(threads) schedule(static)
    for (index_t chunk = 0; chunk < p.chunks; chunk++) {
        index_t first = chunk * p.rows, count = p.n - first < p.rows ? p.n - first : p.rows, kept = 0;
        REAL *slopes = all + THREAD * lstm_own(&p), *reads = slopes + STEPS * p.rows * p.gates, *back = reads + STEPS * p.rows * p.read;
        REAL *dc = back + p.rows * p.read, *dh = dc + p.rows * p.units, *step = dh + p.rows * p.units;
        memset(step, 0, (size_t)(p.rows * p.gates) * sizeof(REAL));
        memset(back, 0, (size_t)(p.rows * p.read) * sizeof(REAL));
        for (index_t r = 0; r < count; r++)
            if (dlast) memcpy(dc + r * p.units, dlast + (first + r) * p.units, (size_t)p.units * sizeof(REAL));
            else memset(dc + r * p.units, 0, (size_t)p.units * sizeof(REAL));
        for (index_t t = p.steps - 1; t >= 0; t--) {
            for (index_t r = 0; r < count; r++) {
                index_t at = (first + r) * p.steps + t;
                const REAL *before = t ? cells + (at - 1) * p.units : c0 + (first + r) * p.units;
                for (index_t u = 0; u < p.units; u++) dh[r * p.units + u] = dout[at * p.units + u] + back[r * wanted + u];
                lstm_slopes(gates + at * p.gates, before, cells + at * p.units, dh + r * p.units, dc + r * p.units, step + r * p.gates,
                            p.units);
                for (index_t k = 0; k < p.gates; k += STEP) /* by columns: rows that are a power of two apart share few places of a cache */
                    memcpy(slopes + k * STEPS * p.rows + kept * STEP, step + r * p.gates + k, STEP * sizeof(REAL));
                lstm_reads(&p, x, h0, out, first + r, t, reads + kept * p.read);
                kept++;
            }
            multiply(step, w, back, count, p.gates, wanted);
            if (dx)
                for (index_t r = 0; r < count; r++)
                    memcpy(dx + ((first + r) * p.steps + t) * p.features, back + r * wanted + p.units, (size_t)p.features * sizeof(REAL));
            if (kept + count > STEPS * p.rows || t == 0) {
                for (index_t k = 0; k < p.gates; k += STEP) {
                    const REAL *columns = slopes + k * STEPS * p.rows;
                    multiply_slopes(reads, columns, dw + chunk * p.read * p.gates + k, kept, p.read, p.gates, STEP, STEP);
                    for (index_t r = 0; r < kept; r++)
#pragma omp simd
                        for (int j = 0; j < STEP; j++) sum_b[chunk * p.gates + k + j] += columns[r * STEP + j];
                }
                kept = 0;
            }
        }
        for (index_t r = 0; r < count; r++) {
            memcpy(dh0 + (first + r) * p.units, back + r * wanted, (size_t)p.units * sizeof(REAL));
            memcpy(dc0 + (first + r) * p.units, dc + r * p.units, (size_t)p.units * sizeof(REAL));
        }
    }
#pragma omp parallel for num_threads(threads) schedule(static)
    for (index_t i = 0; i < p.read; i++)
        for (index_t k = 0; k < p.gates; k++) {
            double sum = 0;
            for (index_t c = 0; c < p.chunks; c++) sum += (double)dw[(c * p.read + i) * p.gates + k];
            if (i < p.features) dw_ih[k * p.features + i] = (REAL)sum;
            else if (i >= p.wide) dw_hh[k * p.units + i - p.wide] = (REAL)sum;
        }
    for (index_t k = 0; db && k < p.gates; k++) {
        double sum = 0;
        for (index_t c = 0; c < p.chunks; c++) sum += (double)sum_b[c * p.gates + k];
        db[k] = (REAL)sum;
    }
}
