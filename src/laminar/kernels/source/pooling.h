/* The largest number under a window of a channels-last tensor (n, height, width, channels), channels a multiple of STEP. */

typedef mask loose __attribute__((aligned(sizeof(REAL)), may_alias));

typedef struct {
    index_t height, width, channels, rows, columns, tall, wide, down, across, top, left; /* window, strides, padding */
} window_t;

/* places[...] is the place of the largest in its window, by rows. As torch has it, a later equal one does not count, and nan wins. */
EXPORT void pool_forward(const REAL *x, REAL *z, void *places, const int64_t *sizes, index_t n, int threads) {
    window_t w;
    memcpy(&w, sizes, sizeof w);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (index_t line = 0; line < n * w.rows; line++) {
        index_t b = line / w.rows, top = line % w.rows * w.down - w.top;
        for (index_t j = 0; j < w.columns; j++) {
            index_t left = j * w.across - w.left, at = (line * w.columns + j) * w.channels;
            for (index_t c = 0; c < w.channels; c += LANES) {
                vec best = (vec){0} - (REAL)INFINITY;
                mask place = (mask){0} - 1;
                for (index_t i = 0; i < w.tall; i++)
                    for (index_t k = 0; k < w.wide; k++) {
                        index_t y = top + i, xx = left + k;
                        if (y < 0 || y >= w.height || xx < 0 || xx >= w.width) continue;
                        vec v = LOAD(x + ((b * w.height + y) * w.width + xx) * w.channels + c);
                        mask wins = (v > best) | (v != v) | (place < 0);
                        best = (vec)(((mask)v & wins) | ((mask)best & ~wins));
                        place = (((mask){0} + (lane_t)(i * w.wide + k)) & wins) | (place & ~wins);
                    }
                *(vec *)(z + at + c) = best;
                if (places) *(loose *)((char *)places + (size_t)(at + c) * sizeof(REAL)) = place;
            }
        }
    }
}

EXPORT void pool_backward(const REAL *dz, const void *places, REAL *dx, const int64_t *sizes, index_t n, int threads) {
    window_t w;
    memcpy(&w, sizes, sizeof w);
    index_t image = w.height * w.width * w.channels;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (index_t b = 0; b < n; b++) {
        memset(dx + b * image, 0, (size_t)image * sizeof(REAL));
        for (index_t r = 0; r < w.rows; r++)
            for (index_t j = 0; j < w.columns; j++) {
                index_t at = ((b * w.rows + r) * w.columns + j) * w.channels, top = r * w.down - w.top, left = j * w.across - w.left;
                for (index_t i = 0; i < w.tall; i++)
                    for (index_t k = 0; k < w.wide; k++) {
                        index_t y = top + i, xx = left + k;
                        if (y < 0 || y >= w.height || xx < 0 || xx >= w.width) continue;
                        REAL *to = dx + ((b * w.height + y) * w.width + xx) * w.channels;
                        for (index_t c = 0; c < w.channels; c += LANES) {
                            mask here = *(const loose *)((const char *)places + (size_t)(at + c) * sizeof(REAL)) == (lane_t)(i * w.wide + k);
                            *(vec *)(to + c) += where(here, LOAD(dz + at + c));
                        }
                    }
            }
    }
}
