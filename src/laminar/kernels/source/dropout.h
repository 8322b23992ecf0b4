/* Dropout, with the very numbers that torch draws on a CPU: one of 53 bits from two words of the Mersenne Twister for each entry.

   `state` is what Generator.get_state returns: the seed (8 bytes), how many words are left and 1 (4), a mark (4), which word is next (8),
   and the 624 words, of 8 bytes each. Matsumoto and Nishimura, "Mersenne Twister", 1998. */

#define WORDS 624
#define AHEAD 397

typedef struct {
    uint64_t seed;
    int32_t left, seeded;
    uint64_t next, words[WORDS];
} twister_t;

static inline uint32_t twist(uint32_t a, uint32_t b) {
    return (((a & 0x80000000u) | (b & 0x7fffffffu)) >> 1) ^ (b & 1 ? 0x9908b0dfu : 0);
}

static void refill(uint32_t *s) {
#pragma omp simd safelen(64)
    for (int i = 0; i < WORDS - AHEAD; i++) s[i] = s[i + AHEAD] ^ twist(s[i], s[i + 1]);
#pragma omp simd safelen(64)
    for (int i = WORDS - AHEAD; i < WORDS - 1; i++) s[i] = s[i + AHEAD - WORDS] ^ twist(s[i], s[i + 1]);
    s[WORDS - 1] = s[AHEAD - 1] ^ twist(s[WORDS - 1], s[0]);
}

static void temper(const uint32_t *s, uint32_t *out) {
#pragma omp simd
    for (int i = 0; i < WORDS; i++) {
        uint32_t y = s[i];
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c5680u;
        y ^= (y << 15) & 0xefc60000u;
        out[i] = y ^ (y >> 18);
    }
}

static inline uint8_t below(uint32_t high, uint32_t low, uint64_t bound) {
    return (((uint64_t)(high & 0x1fffffu) << 32) | low) < bound;
}

/* kept[i] is 1 with probability `keep`, and z[i] then x[i] / keep, else 0 */
EXPORT void dropout_forward(const REAL *x, REAL *z, uint8_t *kept, uint8_t *state, index_t n, double keep) {
    twister_t t;
    uint32_t s[WORDS], out[WORDS];
    memcpy(&t, state, sizeof t);
    for (int i = 0; i < WORDS; i++) s[i] = (uint32_t)t.words[i];
    temper(s, out);
    index_t at = t.left <= 1 ? WORDS : (index_t)t.next; /* all used up, or not even made */
    uint64_t bound = (uint64_t)ceil(keep * 9007199254740992.0);
    for (index_t i = 0; i < n;) {
        index_t pairs = (WORDS - at) / 2 < n - i ? (WORDS - at) / 2 : n - i;
        const uint32_t *from = out + at;
#pragma omp simd
        for (index_t j = 0; j < pairs; j++) kept[i + j] = below(from[2 * j], from[2 * j + 1], bound);
        i += pairs, at += 2 * pairs;
        if (i == n) break;
        uint32_t high = at < WORDS ? out[at] : 0;
        int halfway = at < WORDS;
        refill(s);
        temper(s, out);
        at = 0;
        if (halfway) kept[i++] = below(high, out[at++], bound);
    }
    REAL scale = 1 / (REAL)keep;
#pragma omp simd
    for (index_t i = 0; i < n; i++) z[i] = x[i] * (kept[i] ? scale : 0);
    for (int i = 0; i < WORDS; i++) t.words[i] = s[i];
    t.next = (uint64_t)at, t.left = (int32_t)(WORDS + 1 - at);
    memcpy(state, &t, sizeof t);
}

EXPORT void dropout_backward(const REAL *dz, const uint8_t *kept, REAL *dx, index_t n, double keep) {
    REAL scale = 1 / (REAL)keep;
#pragma omp simd
    for (index_t i = 0; i < n; i++) dx[i] = dz[i] * (kept[i] ? scale : 0);
}
