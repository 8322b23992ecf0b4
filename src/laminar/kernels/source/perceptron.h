/* Dense layers and normalizations one behind the other: for networks whose steps are shorter than the calls they take.

   What a stage returns is kept, (rows, wide): rows rounded up to TALL, its units to STEP, with zeros behind the units. A training step is
   one thread's; where nothing has a way back, several take blocks of the observations. */

enum { DENSE, NORMALIZED };                         /* what a stage does, */
enum { PLAIN, RECTIFIED, TANH, LOGISTIC, SOFTMAX }; /* and what bends its result */
enum { FROM_MEMORY = 64 };                          /* features of a first layer that are read where they lie */
enum { IN_A_BLOCK = 32 };                           /* observations that a thread takes through all stages where nothing is kept */

typedef struct {
    int64_t does, features, units, bends, own; /* own: normalized by the statistics of this batch, not by the running ones */
} stage_t;

typedef struct {
    double momentum, epsilon;
} pace_t;

typedef struct {
    REAL *weight, *bias, *mean, *variance; /* any of them may be missing */
} numbers_t;

static inline index_t wide(index_t units) { return (units + STEP - 1) / STEP * STEP; }

static inline index_t tall(index_t n) { return (n + TALL - 1) / TALL * TALL; }

/* whether the first layer reads x as it is */
static inline int from_memory(const stage_t *s) { return s->does == DENSE && s->features >= FROM_MEMORY; }

/* what is kept of a stage: its result, and the mean and 1 / sqrt(variance + epsilon) that it has used */
static inline index_t kept(const stage_t *s, index_t n) { return (tall(n) + 2) * wide(s->units); }

/* numbers in the longest row that is padded, */
static index_t widest(const stage_t *stages, index_t count) {
    index_t most = wide(stages[count - 1].units);
    for (index_t i = from_memory(stages); i < count; i++) most = wide(stages[i].features) > most ? wide(stages[i].features) : most;
    return most;
}

/* numbers of a weight as `multiply` takes it, */
static inline index_t laid_out(const stage_t *s) { return s->does == DENSE ? wide(s->features) * wide(s->units) : 0; }

/* of the largest, and of all of them */
static index_t largest(const stage_t *stages, index_t count) {
    index_t most = 0;
    for (index_t i = from_memory(stages); i < count; i++) most = laid_out(stages + i) > most ? laid_out(stages + i) : most;
    return most;
}

static index_t all_laid_out(const stage_t *stages, index_t count) {
    index_t total = 0;
    for (index_t i = from_memory(stages); i < count; i++) total += laid_out(stages + i);
    return total;
}

/* numbers kept: x where it is copied, and all stages */
EXPORT index_t perceptron_kept(const int64_t *given, index_t count, index_t n) {
    const stage_t *stages = (const stage_t *)given;
    index_t total = from_memory(stages) ? 0 : tall(n) * wide(stages->features);
    for (index_t i = 0; i < count; i++) total += kept(stages + i, n);
    return total;
}

/* numbers of room that either way needs */
EXPORT index_t perceptron_room(const int64_t *given, index_t count, index_t n) {
    const stage_t *stages = (const stage_t *)given;
    index_t forth = all_laid_out(stages, count), back = largest(stages, count) + 2 * tall(n) * widest(stages, count);
    return forth > back ? forth : back;
}

static void softmax(REAL *z, index_t units) {
    REAL most = z[0];
    double total = 0;
    for (index_t u = 1; u < units; u++) most = z[u] > most ? z[u] : most;
    for (index_t u = 0; u < units; u++) {
        z[u] = sizeof(REAL) == sizeof(float) ? (REAL)expf((float)(z[u] - most)) : (REAL)exp((double)(z[u] - most));
        total += (double)z[u];
    }
    for (index_t u = 0; u < units; u++) z[u] = (REAL)((double)z[u] / total);
}

static void unsoftmax(REAL *d, const REAL *z, index_t units) {
    double together = 0;
    for (index_t u = 0; u < units; u++) together += (double)d[u] * (double)z[u];
    for (index_t u = 0; u < units; u++) d[u] = z[u] * (REAL)((double)d[u] - together);
}

static void bend(REAL *z, index_t n, index_t units, index_t apart, int64_t bends) {
    for (index_t b = 0; b < n; b++, z += apart) {
        if (bends == RECTIFIED)
#pragma omp simd
            for (index_t u = 0; u < units; u++) z[u] = z[u] < 0 ? 0 : z[u];
        else if (bends == TANH)
#pragma omp simd
            for (index_t u = 0; u < units; u++) z[u] = hyperbolic(z[u]);
        else if (bends == LOGISTIC)
#pragma omp simd
            for (index_t u = 0; u < units; u++) z[u] = sigmoid(z[u]);
        else if (bends == SOFTMAX) softmax(z, units);
    }
}

/* d times the derivative, which all of these tell by their result z */
static void unbend(REAL *d, const REAL *z, index_t n, index_t units, index_t apart, int64_t bends) {
    for (index_t b = 0; b < n; b++, d += apart, z += apart) {
        if (bends == RECTIFIED)
#pragma omp simd
            for (index_t u = 0; u < units; u++) d[u] = z[u] <= 0 ? 0 : d[u];
        else if (bends == TANH)
#pragma omp simd
            for (index_t u = 0; u < units; u++) d[u] *= 1 - z[u] * z[u];
        else if (bends == LOGISTIC)
#pragma omp simd
            for (index_t u = 0; u < units; u++) d[u] *= z[u] * (1 - z[u]);
        else if (bends == SOFTMAX) unsoftmax(d, z, units);
    }
}

/* Zeros behind the units of every row: where a number is infinite, the zeros of a weight have made nan of it there. */
static void clear_rest(REAL *z, index_t n, index_t units, index_t apart) {
    for (index_t b = 0; b < n && units < apart; b++) memset(z + b * apart + units, 0, (size_t)(apart - units) * sizeof(REAL));
}

/* w[i * out + u] = weight[u * features + i], with zeros around */
static void lay_out(const stage_t *s, const REAL *weight, REAL *w) {
    index_t out = wide(s->units);
    memset(w, 0, (size_t)laid_out(s) * sizeof(REAL));
    for (index_t u = 0; u < s->units; u++)
        for (index_t i = 0; i < s->features; i++) w[i * out + u] = weight[u * s->features + i];
}

static void lay_out_all(const stage_t *stages, const numbers_t *numbers, REAL *w, index_t count) {
    for (index_t i = from_memory(stages); i < count; w += laid_out(stages + i), i++)
        if (stages[i].does == DENSE) lay_out(stages + i, numbers[i].weight, w);
}

static void dense_stage(const stage_t *s, const numbers_t *p, const REAL *x, const REAL *w, REAL *z, index_t n) {
    index_t out = wide(s->units);
    multiply(x, w, z, n, wide(s->features), out);
    for (index_t b = 0; p->bias && b < n; b++)
#pragma omp simd
        for (index_t u = 0; u < s->units; u++) z[b * out + u] += p->bias[u];
    clear_rest(z, n, s->units, out);
}

/* sums[c] = the sum of f over the batch, STEP channels at a time; f speaks of `b` and `at`, the place of the number */
#define EACH_SUM(sums, f)                                                    \
    for (index_t b = 0; b < n; b++) {                                        \
        index_t at = b * apart + c;                                          \
        _Pragma("omp simd") for (int i = 0; i < STEP; i++) (sums)[i] += (f); \
    }

static void normalized_stage(const stage_t *s, const pace_t *how, const numbers_t *p, const REAL *x, REAL *z, REAL *found, index_t n) {
    index_t apart = wide(s->units);
    REAL *mean = found, *inverse = found + apart;
    for (index_t c = 0; c < apart; c += STEP) {
        double sums[STEP] = {0}, squares[STEP] = {0};
        if (s->own) {
            EACH_SUM(sums, (double)x[at + i])
            for (int i = 0; i < STEP; i++) mean[c + i] = (REAL)(sums[i] /= (double)n);
            EACH_SUM(squares, ((double)x[at + i] - sums[i]) * ((double)x[at + i] - sums[i]))
        }
        REAL scale[STEP] = {0}, shift[STEP] = {0};
        for (int i = 0; i < STEP && c + i < s->units; i++) {
            index_t k = c + i;
            if (s->own && p->mean) {
                p->mean[k] = (REAL)((1 - how->momentum) * (double)p->mean[k] + how->momentum * sums[i]);
                p->variance[k] = (REAL)((1 - how->momentum) * (double)p->variance[k] + how->momentum * squares[i] / (double)(n - 1));
            }
            if (!s->own) mean[k] = p->mean[k];
            double variance = s->own ? squares[i] / (double)n : (double)p->variance[k];
            inverse[k] = (REAL)(1 / sqrt(variance + how->epsilon));
            scale[i] = inverse[k] * (p->weight ? p->weight[k] : 1);
            shift[i] = p->bias ? p->bias[k] : 0;
        }
        for (index_t b = 0; b < n; b++) {
            index_t at = b * apart + c;
#pragma omp simd
            for (int i = 0; i < STEP; i++) z[at + i] = (x[at + i] - mean[c + i]) * scale[i] + shift[i];
        }
    }
}

/* Stages from x (n, features) to out (n, units), kept in places for `most` rows, where at first all have been zeros. Zeros behind a row
   must be so afterwards: where places are used again, they are those of the same stage. */
static void all_stages(const stage_t *stages, const pace_t *how, const numbers_t *numbers, const REAL *x, REAL *out, REAL *to,
                       const REAL *weights, index_t count, index_t n, index_t most) {
    const REAL *from = x;
    int raw = from_memory(stages);
    if (!raw) {
        for (index_t b = 0; b < n; b++)
            memcpy(to + b * wide(stages->features), x + b * stages->features, (size_t)stages->features * sizeof(REAL));
        from = to, to += tall(most) * wide(stages->features);
    }
    for (index_t i = 0; i < count; i++) {
        const stage_t *s = stages + i;
        const numbers_t *p = numbers + i;
        index_t apart = wide(s->units);
        if (s->does == NORMALIZED) normalized_stage(s, how + i, p, from, to, to + tall(most) * apart, n);
        else if (raw && i == 0) dense_rows(from, p->weight, p->bias, to, n, s->features, s->units, apart, 1);
        else dense_stage(s, p, from, weights, to, n), weights += laid_out(s);
        bend(to, n, s->units, apart, s->bends);
        from = to, to += kept(s, most);
    }
    const stage_t *last = stages + count - 1;
    for (index_t b = 0; b < n; b++) memcpy(out + b * last->units, from + b * wide(last->units), (size_t)last->units * sizeof(REAL));
}

/* `kept` has the room that perceptron_kept says, for the way back. */
EXPORT void perceptron_forward(const REAL *x, REAL *out, REAL *kept_of_all, REAL *room, const void *given, const int64_t *kinds,
                               const double *paces, index_t count, index_t n) {
    const stage_t *stages = (const stage_t *)kinds;
    memset(kept_of_all, 0, (size_t)perceptron_kept(kinds, count, n) * sizeof(REAL));
    lay_out_all(stages, given, room, count);
    all_stages(stages, (const pace_t *)paces, given, x, out, kept_of_all, room, count, n, n);
}

static inline index_t in_a_block(index_t n) { return n < IN_A_BLOCK ? n : IN_A_BLOCK; }

/* numbers of room that `perceptron_predict` needs */
EXPORT index_t perceptron_predict_room(const int64_t *kinds, index_t count, index_t n, int threads) {
    return all_laid_out((const stage_t *)kinds, count) + threads * perceptron_kept(kinds, count, in_a_block(n));
}

/* The same without a way back, by several threads: a block of observations goes through all stages in a thread's cache.
   No normalization is by the batch. */
EXPORT void perceptron_predict(const REAL *x, REAL *out, REAL *room, const void *given, const int64_t *kinds, const double *paces,
                               index_t count, index_t n, int threads) {
    const stage_t *stages = (const stage_t *)kinds;
    index_t most = in_a_block(n), keeps = perceptron_kept(kinds, count, most), units = stages[count - 1].units;
    REAL *kept_of_all = room + all_laid_out(stages, count);
    lay_out_all(stages, given, room, count);
    memset(kept_of_all, 0, (size_t)(threads * keeps) * sizeof(REAL));
#pragma omp parallel for num_threads(threads) schedule(dynamic) if (threads > 1)
    for (index_t b = 0; b < n; b += IN_A_BLOCK) {
        all_stages(stages, (const pace_t *)paces, given, x + b * stages->features, out + b * units, kept_of_all + THREAD * keeps, room,
                   count, in_a_block(n - b), most);
    }
}

static void sum_biases(const REAL *d, REAL *sums, index_t n, index_t units, index_t apart) {
    for (index_t c = 0; c < units; c += STEP) {
        double total[STEP] = {0};
        EACH_SUM(total, (double)d[at + i])
        for (int i = 0; i < STEP && c + i < units; i++) sums[c + i] = (REAL)total[i];
    }
}

static void dense_back(const stage_t *s, const numbers_t *p, const numbers_t *made, const REAL *x, int raw, const REAL *d, REAL *dx,
                       REAL *room, index_t n) {
    index_t in = wide(s->features), out = wide(s->units);
    if (made->bias) sum_biases(d, made->bias, n, s->units, out);
    if (raw) {
        if (made->weight) dense_to_w(x, d, made->weight, n, s->features, s->units, out, 1);
        if (dx) dense_to_x(d, p->weight, dx, n, s->features, s->units, out, 1);
        return;
    }
    if (made->weight) {
        memset(room, 0, (size_t)(in * out) * sizeof(REAL));
        multiply_slopes(x, d, room, n, in, out, out, out);
        for (index_t u = 0; u < s->units; u++)
            for (index_t i = 0; i < s->features; i++) made->weight[u * s->features + i] = room[i * out + u];
    }
    if (!dx) return;
    memset(room, 0, (size_t)(in * out) * sizeof(REAL));
    for (index_t u = 0; u < s->units; u++) memcpy(room + u * in, p->weight + u * s->features, (size_t)s->features * sizeof(REAL));
    multiply(d, room, dx, n, out, in);
    clear_rest(dx, n, s->features, in);
}

/* dx = weight inverse (d - mean(d) - x^ mean(d x^)), with x^ the normalized x */
static void normalized_back(const stage_t *s, const numbers_t *p, const numbers_t *made, const REAL *x, const REAL *found, const REAL *d,
                            REAL *dx, index_t n) {
    index_t apart = wide(s->units);
    const REAL *mean = found, *inverse = found + apart;
    for (index_t c = 0; c < apart; c += STEP) {
        double sums[STEP] = {0}, products[STEP] = {0};
        EACH_SUM(sums, (double)d[at + i])
        EACH_SUM(products, (double)d[at + i] * (double)((x[at + i] - mean[c + i]) * inverse[c + i]))
        REAL scale[STEP] = {0}, level[STEP] = {0}, tilt[STEP] = {0};
        for (int i = 0; i < STEP && c + i < s->units; i++) {
            index_t k = c + i;
            if (made->bias) made->bias[k] = (REAL)sums[i];
            if (made->weight) made->weight[k] = (REAL)products[i];
            scale[i] = inverse[k] * (p->weight ? p->weight[k] : 1);
            level[i] = (REAL)(sums[i] / (double)n), tilt[i] = (REAL)(products[i] / (double)n) * inverse[k];
        }
        if (!dx) continue;
        for (index_t b = 0; b < n; b++) {
            index_t at = b * apart + c;
#pragma omp simd
            for (int i = 0; i < STEP; i++) dx[at + i] = scale[i] * (d[at + i] - level[i] - (x[at + i] - mean[c + i]) * tilt[i]);
        }
    }
}

/* Gradients of what `made` has room for, and of x where dx is, from that of out, (n, units). Every normalization is by the batch. */
EXPORT void perceptron_backward(const REAL *x, const REAL *dout, const REAL *kept_of_all, REAL *dx, REAL *room, const void *given,
                                const void *wanted, const int64_t *kinds, index_t count, index_t n) {
    const stage_t *stages = (const stage_t *)kinds;
    const numbers_t *numbers = given, *made = wanted;
    int raw = from_memory(stages);
    index_t size = tall(n) * widest(stages, count);
    REAL *weights = room, *d = room + largest(stages, count), *next = d + size;
    const REAL *to = kept_of_all + perceptron_kept(kinds, count, n);
    memset(d, 0, (size_t)(2 * size) * sizeof(REAL));
    index_t units = stages[count - 1].units;
    for (index_t b = 0; b < n; b++) memcpy(d + b * wide(units), dout + b * units, (size_t)units * sizeof(REAL));
    index_t first = 0; /* the first stage that a gradient has to reach */
    while (!dx && first < count - 1 && !made[first].weight && !made[first].bias) first++;
    for (index_t i = count - 1; i >= first; i--) {
        const stage_t *s = stages + i;
        to -= kept(s, n);
        const REAL *from = i ? to - kept(stages + i - 1, n) : raw ? x : kept_of_all;
        int deepest = i == first, straight = i == 0 && raw;
        REAL *on = !deepest ? next : !dx ? 0 : straight ? dx : next;
        unbend(d, to, n, s->units, wide(s->units), s->bends);
        if (s->does == DENSE) dense_back(s, numbers + i, made + i, from, straight, d, on, weights, n);
        else normalized_back(s, numbers + i, made + i, from, to + tall(n) * wide(s->units), d, on, n);
        if (on == next) next = d, d = on;
    }
    if (dx && !raw)
        for (index_t b = 0; b < n; b++)
            memcpy(dx + b * stages->features, d + b * wide(stages->features), (size_t)stages->features * sizeof(REAL));
}
