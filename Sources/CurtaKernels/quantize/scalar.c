// Blocks, squares and codes of activations: the definition (curta-arithmetic.md sections 1 and 4).
// SPDX-License-Identifier: Apache-2.0

#include "../arithmetic.h"
#include "../kernels.h"
#include "../rotate/rotate.h"

void curta_centre__scalar(const int32_t *x, uint32_t n, int32_t *y) {
  int64_t sum = 0;
  for (uint32_t i = 0; i < n; i++)
    sum += x[i];
  const int64_t mean = curta_floor_divide(2 * sum + n, 2 * (int64_t)n);
  for (uint32_t i = 0; i < n; i++)
    y[i] = curta_clamp32(x[i] - mean);
}

uint32_t curta_maxabs_i32__scalar(const int32_t *x, uint32_t n) {
  int32_t most = 0;
  for (uint32_t i = 0; i < n; i++) {
    const int32_t a = x[i] < 0 ? -x[i] : x[i];
    most = a > most ? a : most;
  }
  return (uint32_t)most;
}

void curta_narrow__scalar(const int32_t *x, uint32_t n, uint32_t s, int16_t *y) {
  for (uint32_t i = 0; i < n; i++)
    y[i] = (int16_t)curta_clamp(curta_round(x[i], s), 32767);
}

uint64_t curta_sum_squares__scalar(const int16_t *y, uint32_t n) {
  uint64_t sum = 0;
  for (uint32_t i = 0; i < n; i++)
    sum += (uint32_t)(y[i] * y[i]);
  return sum;
}

void curta_multiply__scalar(const int16_t *a, const int16_t *b, uint32_t n, int32_t *t) {
  for (uint32_t i = 0; i < n; i++)
    t[i] = a[i] * b[i];
}

uint32_t curta_product_bits__scalar(const int32_t *x, const int16_t *c, uint32_t n) {
  uint64_t any = 0; // as many bits as the largest
  for (uint32_t i = 0; i < n; i++) {
    const int64_t t = (int64_t)x[i] * c[i];
    any |= (uint64_t)(t < 0 ? -t : t);
  }
  return curta_bits(any);
}

void curta_narrow_product__scalar(const int32_t *x, const int16_t *c, uint32_t n, uint32_t s,
                                  int16_t *y) {
  for (uint32_t i = 0; i < n; i++)
    y[i] = (int16_t)curta_clamp(curta_round((int64_t)x[i] * c[i], s), 32767);
}

void curta_block_sums__scalar(const int8_t *q, uint32_t n, int16_t *sums) {
  for (uint32_t j = 0; j < n / 32; j++) {
    int32_t sum = 0;
    for (uint32_t i = 0; i < 32; i++)
      sum += q[j * 32 + i];
    sums[j] = (int16_t)sum;
  }
}

uint32_t curta_spread__scalar(int16_t *y, uint32_t n, uint32_t block, int32_t *wide, int8_t *q) {
  uint32_t s = 0;
  if (block) {
    for (uint32_t i = 0; i < n; i++)
      wide[i] = y[i];
    for (uint32_t i = 0; i < n; i += block)
      curta_hadamard__scalar(wide + i, block);
    const uint32_t bits = curta_bits(curta_maxabs_i32__scalar(wide, n));
    s = bits > 15 ? bits - 15 : 0;
    curta_narrow__scalar(wide, n, s, y);
  }
  int32_t most = 1;
  for (uint32_t i = 0; i < n; i++) {
    const int32_t a = y[i] < 0 ? -y[i] : y[i];
    most = a > most ? a : most;
  }
  const uint32_t p = 8 + curta_bits((uint32_t)most);
  const int32_t r = ((127 << p) + most / 2) / most;
  for (uint32_t i = 0; i < n; i++) // fits int32: below 127.01 * 2^23
    q[i] = (int8_t)curta_clamp(curta_round(y[i] * r, p), 127);
  return (uint32_t)most | s << 16;
}

uint32_t curta_spread_rotated__scalar(int16_t *y, uint32_t n, const int32_t *cosine,
                                      const int32_t *sine, uint32_t pairs, uint32_t interleaved,
                                      uint32_t block, int32_t *wide, int8_t *q) {
  for (uint32_t i = 0; i < n; i++)
    wide[i] = y[i];
  if (interleaved)
    curta_rotate_interleaved__scalar(wide, cosine, sine, pairs);
  else
    curta_rotate_half_split__scalar(wide, cosine, sine, pairs);
  for (uint32_t i = 0; block && i < n; i += block)
    curta_hadamard__scalar(wide + i, block);
  const uint32_t bits = curta_bits(curta_maxabs_i32__scalar(wide, n));
  const uint32_t s = bits > 15 ? bits - 15 : 0;
  curta_narrow__scalar(wide, n, s, y);
  return curta_spread__scalar(y, n, 0, wide, q) | s << 16;
}
