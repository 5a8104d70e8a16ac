// Attention of one query head over its positions: the definition (curta-arithmetic.md section 4).
// SPDX-License-Identifier: Apache-2.0

#include "../arithmetic.h"
#include "../kernels.h"

/// The scores of one query.
static void row_scores(const int8_t *q, const int8_t *k, uint32_t width, uint32_t n, int32_t *a) {
  for (uint32_t j = 0; j < n; j++) {
    const int8_t *row = k + (size_t)j * width;
    int32_t dot = 0;
    for (uint32_t i = 0; i < width; i++)
      dot += q[i] * row[i];
    a[j] = dot;
  }
}

void curta_scores__scalar(const int8_t *q, size_t q_stride, uint32_t rows, const int8_t *k,
                          uint32_t width, uint32_t n, int32_t *a, size_t a_stride) {
  for (uint32_t r = 0; r < rows; r++)
    row_scores(q + r * q_stride, k, width, n, a + r * a_stride);
}

int32_t curta_score_logits__scalar(int32_t *a, const curta_scale *k, uint32_t n, uint32_t m,
                                   int32_t e) {
  int32_t most = INT32_MIN;
  for (uint32_t j = 0; j < n; j++) {
    const int64_t score = curta_round((int64_t)a[j] * k[j].m, 14); // abs <= 2^24
    const int32_t t = (int32_t)curta_clamp(curta_rescale(score * m, k[j].e + e), 1 << 30);
    a[j] = t;
    most = t > most ? t : most;
  }
  return most;
}

/// exp15(d) ~ 2^15 * 2^-(d / 2^16): a table of step 1/32 on one octave, interpolated.
static inline uint32_t exp15(uint32_t d) {
  const uint32_t n = d >> 16, i = (d >> 11) & 31, r = d & 2047;
  const uint32_t high = curta_exp15_table[i], low = curta_exp15_table[i + 1];
  return (uint32_t)curta_round(high - curta_round((high - low) * r, 11), n < 31 ? n : 31);
}

/// The least d with exp15(d) <= x; exp15 never rises.
static int32_t inverse(uint32_t x) {
  uint32_t low = 0, high = 17 << 16;
  while (low < high) {
    const uint32_t middle = (low + high) / 2;
    if (exp15(middle) <= x)
      high = middle;
    else
      low = middle + 1;
  }
  return (int32_t)low;
}

/// inverse(max(0, exp15(d) - shift)).
static int32_t shifted(uint32_t d, uint32_t shift) {
  const uint32_t w = exp15(d);
  return inverse(w > shift ? w - shift : 0);
}

void curta_make_score_code(uint32_t bits, uint32_t step, uint32_t shift, curta_score_code *code) {
  code->edges = (1u << bits) - 1;
  for (uint32_t c = 0; c <= code->edges; c++)
    code->level[c] = shifted(c * step << 15, shift);
  for (uint32_t c = 0; c < code->edges; c++)
    code->edge[c] = shifted((2 * c + 1) * step << 14, shift);
}

void curta_code_logits__scalar(int32_t *t, uint32_t n, int32_t max, const curta_score_code *code) {
  for (uint32_t j = 0; j < n; j++) {
    const uint32_t d = (uint32_t)max - (uint32_t)t[j]; // <= 2^31
    uint32_t c = 0;
    while (c < code->edges && (uint32_t)code->edge[c] <= d)
      c++;
    t[j] = max - code->level[c];
  }
}

uint32_t curta_score_weights__scalar(int32_t *t, const curta_scale *v, uint32_t n, int32_t max,
                                     uint64_t *total, int32_t *least) {
  uint64_t sum = 0;
  int32_t e0 = INT32_MAX;
  for (uint32_t j = 0; j < n; j++) {
    const uint32_t w = exp15((uint32_t)max - (uint32_t)t[j]);
    sum += w;
    t[j] = (int32_t)(w * v[j].m); // < 2^31
    e0 = v[j].e < e0 ? v[j].e : e0;
  }
  uint32_t most = 0;
  for (uint32_t j = 0; j < n; j++) {
    const uint32_t up = (uint32_t)v[j].e - (uint32_t)e0;
    const uint32_t u = (uint32_t)t[j] >> (up < 31 ? up : 31);
    most = u > most ? u : most;
  }
  *total = sum;
  *least = e0;
  return most;
}

void curta_narrow_weights__scalar(const uint32_t *u, const curta_scale *v, uint32_t n,
                                  int32_t least, uint32_t s, int16_t *c) {
  for (uint32_t j = 0; j < n; j++) {
    const uint64_t down = (uint64_t)((uint32_t)v[j].e - (uint32_t)least) + s;
    const int64_t x = curta_round(u[j], down < 62 ? (uint32_t)down : 62);
    c[j] = (int16_t)(x < 32767 ? x : 32767);
  }
}

void curta_weighted_sum__scalar(const int16_t *c, size_t c_stride, uint32_t rows, const int8_t *v,
                                uint32_t width, uint32_t n, int64_t *o) {
  for (uint32_t r = 0; r < rows; r++, c += c_stride, o += width) {
    for (uint32_t i = 0; i < width; i++)
      o[i] = 0;
    for (uint32_t j = 0; j < n; j++)
      for (uint32_t i = 0; i < width; i++)
        o[i] += c[j] * v[(size_t)j * width + i];
  }
}

uint32_t curta_scaled_sums__scalar(const int64_t *o, uint32_t n, uint32_t r, int32_t *y) {
  uint64_t any = 0; // as many bits as the largest
  for (uint32_t i = 0; i < n; i++)
    any |= (uint64_t)(o[i] < 0 ? -o[i] : o[i]);
  const uint32_t bits = curta_bits(any), s = bits > 15 ? bits - 15 : 0;
  for (uint32_t i = 0; i < n; i++)
    y[i] = (int32_t)curta_clamp(curta_round(o[i], s), 32767) * (int32_t)r;
  return s;
}
