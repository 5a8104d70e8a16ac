// Products of weights and codes: the definition (curta-arithmetic.md section 2).
// SPDX-License-Identifier: Apache-2.0

#include "../arithmetic.h"
#include "../kernels.h"

/// Sum over a block of 32 columns of weight code times input code, abs <= 32 * 127 * 127.
typedef int32_t block_dot(const uint8_t *block, const int8_t *q /* [32] */);

static inline int32_t dot_nibbles(const uint8_t *block /* [16] */, const int8_t *q) {
  int32_t dot = 0;
  for (int i = 0; i < 16; i++) {
    dot += ((block[i] & 15) - 8) * q[i];
    dot += ((block[i] >> 4) - 8) * q[i + 16];
  }
  return dot;
}

static inline int32_t dot_sixes(const uint8_t *block /* [24] */, const int8_t *q) {
  const uint8_t *four = block, *two = block + 16;
  int32_t dot = 0;
  for (int i = 0; i < 8; i++) {
    dot += ((four[i] & 15) + (two[i] & 3) * 16 - 32) * q[i];
    dot += ((four[i + 8] & 15) + (two[i] >> 2 & 3) * 16 - 32) * q[i + 8];
    dot += ((four[i] >> 4) + (two[i] >> 4 & 3) * 16 - 32) * q[i + 16];
    dot += ((four[i + 8] >> 4) + (two[i] >> 6) * 16 - 32) * q[i + 24];
  }
  return dot;
}

static inline int32_t dot_bytes(const uint8_t *block /* [32] */, const int8_t *q) {
  const int8_t *c = (const int8_t *)block;
  int32_t dot = 0;
  for (int i = 0; i < 32; i++)
    dot += c[i] * q[i];
  return dot;
}

/// S of a grid row: sum over groups of scale * (sum of c * q) + offset * (sum of q).
static inline int64_t grid_sum(const curta_weight *w, const curta_codes *x, uint32_t n, uint32_t t,
                               block_dot *dot, size_t block_bytes) {
  const uint8_t *row = (const uint8_t *)w->codes + (size_t)n * w->row_bytes;
  const int8_t *q = x->codes + (size_t)t * x->stride;
  const int16_t *sums = x->sums + (size_t)t * (x->stride / 32);
  const uint32_t blocks = (w->columns + 31) / 32;
  int64_t total = 0;
  for (uint32_t g = 0; g < w->groups; g++) {
    const uint32_t first = g * w->group_blocks;
    const uint32_t last = g + 1 < w->groups ? first + w->group_blocks : blocks;
    int32_t group_dot = 0; // abs <= 2^17 * 127 * 127 < 2^31
    int32_t group_sum = 0;
    for (uint32_t b = first; b < last; b++) {
      group_dot += dot(row + b * block_bytes, q + (size_t)b * 32);
      group_sum += sums[b];
    }
    const size_t at = (size_t)n * w->groups + g;
    total += (int64_t)group_dot * (w->group_scales ? w->group_scales[at] : 1);
    if (w->group_offsets)
      total += (int64_t)group_sum * w->group_offsets[at];
  }
  return total;
}

/// S of a row of a masked tensor: the surviving blocks of its strip alone.
static inline int64_t masked_sum(const curta_weight *w, const curta_codes *x, uint32_t n,
                                 uint32_t t, block_dot *dot, size_t block_bytes) {
  const uint32_t strip = n / CURTA_STRIP_ROWS, row = n % CURTA_STRIP_ROWS;
  const uint16_t *blocks = w->mask_blocks + w->mask_starts[strip];
  const uint32_t survivors = w->mask_starts[strip + 1] - w->mask_starts[strip];
  const size_t first = (size_t)w->mask_starts[strip] * CURTA_STRIP_ROWS + (size_t)row * survivors;
  const int8_t *q = x->codes + (size_t)t * x->stride;
  const int16_t *sums = x->sums + (size_t)t * (x->stride / 32);
  int64_t total = 0;
  for (uint32_t i = 0; i < survivors; i++) {
    const size_t at = first + i;
    const uint8_t *block = (const uint8_t *)w->codes + at * block_bytes;
    total += (int64_t)dot(block, q + (size_t)blocks[i] * 32) *
             (w->group_scales ? w->group_scales[at] : 1);
    if (w->group_offsets)
      total += (int64_t)sums[blocks[i]] * w->group_offsets[at];
  }
  return total;
}

static inline int64_t row_sum(const curta_weight *w, const curta_codes *x, uint32_t n, uint32_t t,
                              block_dot *dot, size_t block_bytes) {
  return (w->mask_starts ? masked_sum : grid_sum)(w, x, n, t, dot, block_bytes);
}

static inline int32_t finish(const curta_weight *w, uint32_t n, int64_t sum) {
  return (int32_t)curta_round(sum * w->mantissas[n], w->shift);
}

void curta_product_nibbles__scalar(const curta_weight *w, const curta_codes *x, uint32_t t0,
                                   uint32_t t1, uint32_t n0, uint32_t n1, int32_t *z,
                                   size_t z_stride, void *scratch) {
  (void)scratch;
  for (uint32_t t = t0; t < t1; t++)
    for (uint32_t n = n0; n < n1; n++)
      z[t * z_stride + n - n0] = finish(w, n, row_sum(w, x, n, t, dot_nibbles, 16));
}

void curta_product_sixes__scalar(const curta_weight *w, const curta_codes *x, uint32_t t0,
                                 uint32_t t1, uint32_t n0, uint32_t n1, int32_t *z, size_t z_stride,
                                 void *scratch) {
  (void)scratch;
  for (uint32_t t = t0; t < t1; t++)
    for (uint32_t n = n0; n < n1; n++)
      z[t * z_stride + n - n0] = finish(w, n, row_sum(w, x, n, t, dot_sixes, 24));
}

void curta_product_bytes__scalar(const curta_weight *w, const curta_codes *x, uint32_t t0,
                                 uint32_t t1, uint32_t n0, uint32_t n1, int32_t *z, size_t z_stride,
                                 void *scratch) {
  (void)scratch;
  for (uint32_t t = t0; t < t1; t++)
    for (uint32_t n = n0; n < n1; n++)
      z[t * z_stride + n - n0] = finish(w, n, row_sum(w, x, n, t, dot_bytes, 32));
}

void curta_product_wide__scalar(const curta_weight *w, const curta_codes *x, uint32_t t0,
                                uint32_t t1, uint32_t n0, uint32_t n1, int32_t *z, size_t z_stride,
                                void *scratch) {
  (void)scratch;
  for (uint32_t t = t0; t < t1; t++)
    for (uint32_t n = n0; n < n1; n++) {
      const uint8_t *row = (const uint8_t *)w->codes + (size_t)n * w->row_bytes;
      const int16_t *c = (const int16_t *)(const void *)row;
      const int8_t *q = x->codes + (size_t)t * x->stride;
      int64_t sum = 0;
      for (uint32_t k = 0; k < w->columns; k++)
        sum += c[k] * q[k];
      z[t * z_stride + n - n0] = finish(w, n, sum);
    }
}
