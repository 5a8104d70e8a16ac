// Attention of one query head over its positions with AVX-512: logits and weights.
// SPDX-License-Identifier: Apache-2.0

#include "../kernels.h"

#if defined(__x86_64__)
#include "../arithmetic.h"
#include "../avx512.h"

/// The lanes of `left` elements, up to 16.
CURTA_AVX512_INLINE __mmask16 lanes_of(uint32_t left) {
  return (__mmask16)(left < 16 ? (1u << left) - 1 : 0xFFFF);
}

/// The mantissas and the exponents of 16 scales, 0 where there are none.
CURTA_AVX512_INLINE void split(const curta_scale *v, __mmask16 there, __m512i *m, __m512i *e) {
  const __m512i a = _mm512_maskz_loadu_epi64((__mmask8)there, v);
  const __m512i b = _mm512_maskz_loadu_epi64((__mmask8)(there >> 8), v + 8);
  const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  *m = _mm512_permutex2var_epi32(a, even, b);
  *e = _mm512_permutex2var_epi32(a, _mm512_add_epi32(even, _mm512_set1_epi32(1)), b);
}

/// Logits of up to 16 scores in place; 0 where a shift is below 11, and nothing is changed.
CURTA_AVX512_INLINE int some_logits(int32_t *a, const curta_scale *k, __mmask16 there,
                                    __m512i factor, __m512i exponent, __m512i *most) {
  __m512i scale, s;
  split(k, there, &scale, &s);
  s = _mm512_add_epi32(s, exponent);
  const __m512i eleven = _mm512_set1_epi32(11);
  if (_mm512_mask_cmplt_epi32_mask(there, s, eleven) != 0)
    return 0;
  // round(a * scale, 14) is that of 4 a by 16; 4 a = 2^16 high + low.
  const __m512i x = _mm512_slli_epi32(_mm512_maskz_loadu_epi32(there, a), 2);
  const __m512i low = _mm512_mullo_epi32(_mm512_and_si512(x, _mm512_set1_epi32(0xFFFF)), scale);
  const __m512i high = _mm512_mullo_epi32(_mm512_srai_epi32(x, 16), scale);
  const __m512i rest = _mm512_srli_epi32(_mm512_add_epi32(low, _mm512_set1_epi32(1 << 15)), 16);
  // The score, abs <= 2^24, times 2^6.
  const __m512i score = _mm512_slli_epi32(_mm512_add_epi32(high, rest), 6);
  // As in gate/avx2.c: of the product with m the upper part, shifted but for a bit, rounded.
  const __m512i product = _mm512_add_epi32(_mm512_mullo_epi32(_mm512_srai_epi32(score, 16), factor),
                                           _mm512_mulhi_epu16(score, factor));
  const __m512i twice = _mm512_srav_epi32(product, _mm512_sub_epi32(s, eleven));
  const __m512i t = _mm512_srai_epi32(_mm512_add_epi32(twice, _mm512_set1_epi32(1)), 1);
  _mm512_mask_storeu_epi32(a, there, t);
  *most = _mm512_mask_max_epi32(*most, there, *most, t);
  return 1;
}

CURTA_AVX512 int32_t curta_score_logits__avx512vnni(int32_t *a, const curta_scale *k, uint32_t n,
                                                    uint32_t m, int32_t e) {
  const __m512i factor = _mm512_set1_epi32((int32_t)m);
  const __m512i exponent = _mm512_set1_epi32(e);
  __m512i most = _mm512_set1_epi32(INT32_MIN);
  uint32_t j = 0;
  while (n - j >= 16 && some_logits(a + j, k + j, 0xFFFF, factor, exponent, &most))
    j += 16;
  if (n - j < 16 && j < n && some_logits(a + j, k + j, lanes_of(n - j), factor, exponent, &most))
    j = n;
  const int32_t x = _mm512_reduce_max_epi32(most);
  if (j == n)
    return x;
  const int32_t y = curta_score_logits__avx2(a + j, k + j, n - j, m, e);
  return x > y ? x : y;
}

CURTA_AVX512 void curta_code_logits__avx512vnni(int32_t *t, uint32_t n, int32_t max,
                                                const curta_score_code *code) {
  const __m512i top = _mm512_set1_epi32(max);
  for (uint32_t j = 0; j < n; j += 16) {
    const __mmask16 there = lanes_of(n - j);
    const __m512i d = _mm512_sub_epi32(top, _mm512_maskz_loadu_epi32(there, t + j));
    __m512i level = _mm512_set1_epi32(code->level[0]);
    for (uint32_t c = 0; c < code->edges; c++)
      level =
          _mm512_mask_mov_epi32(level, _mm512_cmpge_epu32_mask(d, _mm512_set1_epi32(code->edge[c])),
                                _mm512_set1_epi32(code->level[c + 1]));
    _mm512_mask_storeu_epi32(t + j, there, _mm512_sub_epi32(top, level));
  }
}

/// round(x, s) of uint32 lanes, x < 2^31, any s: lanes of 2^(s-1) and of x become 0 past their
/// width.
CURTA_AVX512_INLINE __m512i rounded(__m512i x, __m512i s) {
  const __m512i one = _mm512_set1_epi32(1);
  const __m512i half = _mm512_sllv_epi32(one, _mm512_sub_epi32(s, one));
  return _mm512_srlv_epi32(_mm512_add_epi32(x, half), s);
}

/// The entries of exp15's table and what each falls to the next one.
typedef struct {
  __m512i high, fall;
} octave;

/// exp15(d) of uint32 lanes as words, in the order of VPACKUSDW. A step d >> 11 of 2^16 or more
/// counts as 2^16 - 1: both stand for 0.
CURTA_AVX512_INLINE __m512i exp15(__m512i d0, __m512i d1, const octave *table) {
  const __m512i part = _mm512_set1_epi32(0x7FF0);
  const __m512i at = _mm512_packus_epi32(_mm512_srli_epi32(d0, 11), _mm512_srli_epi32(d1, 11));
  // The way to the next entry in Q15, so that VPMULHRSW interpolates.
  const __m512i way = _mm512_packus_epi32(_mm512_and_si512(_mm512_slli_epi32(d0, 4), part),
                                          _mm512_and_si512(_mm512_slli_epi32(d1, 4), part));
  const __m512i fall = _mm512_permutexvar_epi16(at, table->fall); // five bits count
  const __m512i x =
      _mm512_sub_epi16(_mm512_permutexvar_epi16(at, table->high), _mm512_mulhrs_epi16(fall, way));
  // round(x, n): x shifted by n - 1, then halved by the average with 0.
  const __m512i n = _mm512_srli_epi16(at, 5);
  const __m512i y = _mm512_srlv_epi16(x, _mm512_subs_epu16(n, _mm512_set1_epi16(1)));
  return _mm512_avg_epu16(y, _mm512_maskz_mov_epi16(_mm512_testn_epi16_mask(n, n), y));
}

/// What score_weights gathers.
typedef struct {
  octave table;
  __m512i top, least, sum, most;
} gathered;

/// Weights of up to 16 elements from w, in place of the logits at t.
CURTA_AVX512_INLINE void weigh(int32_t *t, const curta_scale *v, __mmask16 there, __m512i w,
                               gathered *g) {
  __m512i m, e;
  split(v, there, &m, &e);
  const __m512i own = there == 0xFFFF ? w : _mm512_maskz_mov_epi32(there, w);
  const __m512i u = _mm512_mullo_epi32(own, m);
  g->sum = _mm512_add_epi32(g->sum, own);
  // Below 2^31: shifts of 31 and more make 0.
  g->most = _mm512_max_epu32(g->most, _mm512_srlv_epi32(u, _mm512_sub_epi32(e, g->least)));
  if (there == 0xFFFF)
    store512(t, u);
  else
    _mm512_mask_storeu_epi32(t, there, u);
}

CURTA_AVX512_INLINE void some_weights(int32_t *t, const curta_scale *v, __mmask16 first,
                                      __mmask16 second, gathered *g) {
  const __m512i d0 = _mm512_sub_epi32(g->top, _mm512_maskz_loadu_epi32(first, t));
  const __m512i d1 = _mm512_sub_epi32(g->top, _mm512_maskz_loadu_epi32(second, t + 16));
  const __m512i w = exp15(d0, d1, &g->table);
  weigh(t, v, first, _mm512_unpacklo_epi16(w, _mm512_setzero_si512()), g);
  if (second)
    weigh(t + 16, v + 16, second, _mm512_unpackhi_epi16(w, _mm512_setzero_si512()), g);
}

/// The least exponent of n scales, n >= 1.
CURTA_AVX512_INLINE int32_t least_exponent(const curta_scale *v, uint32_t n) {
  __m512i least = _mm512_set1_epi32(INT32_MAX);
  uint32_t j = 0;
  for (; n - j >= 8; j += 8) // mantissas are in the even lanes
    least = _mm512_min_epi32(least, load512(v + j));
  const __mmask8 rest = (__mmask8)((1u << (n - j)) - 1);
  least =
      _mm512_min_epi32(least, _mm512_mask_loadu_epi64(_mm512_set1_epi32(INT32_MAX), rest, v + j));
  return _mm512_mask_reduce_min_epi32(0xAAAA, least);
}

CURTA_AVX512 uint32_t curta_score_weights__avx512vnni(int32_t *t, const curta_scale *v, uint32_t n,
                                                      int32_t max, uint64_t *total,
                                                      int32_t *least) {
  *least = n ? least_exponent(v, n) : INT32_MAX;
  const __m512i high = load512(curta_exp15_table);
  gathered g = {{high, _mm512_sub_epi16(high, load512(curta_exp15_table + 1))},
                _mm512_set1_epi32(max),
                _mm512_set1_epi32(*least),
                _mm512_setzero_si512(), // a lane adds up to 2^15 of 2^16 elements of 2^20
                _mm512_setzero_si512()};
  uint32_t j = 0;
  for (; n - j >= 32; j += 32)
    some_weights(t + j, v + j, 0xFFFF, 0xFFFF, &g);
  if (j < n)
    some_weights(t + j, v + j, lanes_of(n - j), n - j > 16 ? lanes_of(n - j - 16) : 0, &g);
  const __m512i sums = _mm512_add_epi64(_mm512_and_si512(g.sum, _mm512_set1_epi64(0xFFFFFFFF)),
                                        _mm512_srli_epi64(g.sum, 32));
  *total = (uint64_t)_mm512_reduce_add_epi64(sums);
  return _mm512_reduce_max_epu32(g.most);
}

CURTA_AVX512_INLINE void some_narrowed(const uint32_t *u, const curta_scale *v, __mmask16 there,
                                       __m512i least, __m512i s, int16_t *c) {
  __m512i m, e;
  split(v, there, &m, &e);
  const __m512i up = _mm512_min_epu32(_mm512_sub_epi32(e, least), _mm512_set1_epi32(62));
  const __m512i x = rounded(_mm512_maskz_loadu_epi32(there, u), _mm512_add_epi32(up, s));
  const __m256i y = _mm512_cvtepi32_epi16(_mm512_min_epu32(x, _mm512_set1_epi32(32767)));
  if (there == 0xFFFF)
    store256(c, y);
  else
    _mm256_mask_storeu_epi16(c, there, y);
}

CURTA_AVX512 void curta_narrow_weights__avx512vnni(const uint32_t *u, const curta_scale *v,
                                                   uint32_t n, int32_t least, uint32_t s,
                                                   int16_t *c) {
  const __m512i from = _mm512_set1_epi32(least);
  const __m512i base = _mm512_set1_epi32((int32_t)(s < 62 ? s : 62));
  uint32_t j = 0;
  for (; n - j >= 16; j += 16)
    some_narrowed(u + j, v + j, 0xFFFF, from, base, c + j);
  if (j < n)
    some_narrowed(u + j, v + j, lanes_of(n - j), from, base, c + j);
}

CURTA_AVX512 uint32_t curta_scaled_sums__avx512vnni(const int64_t *o, uint32_t n, uint32_t r,
                                                    int32_t *y) {
  __m512i any = _mm512_setzero_si512();
  uint32_t i = 0;
  for (; n - i >= 8; i += 8)
    any = _mm512_or_si512(any, _mm512_abs_epi64(load512(o + i)));
  const __mmask8 rest = (__mmask8)((1u << (n - i)) - 1);
  any = _mm512_or_si512(any, _mm512_abs_epi64(_mm512_maskz_loadu_epi64(rest, o + i)));
  const uint32_t bits = curta_bits((uint64_t)_mm512_reduce_or_epi64(any));
  const uint32_t s = bits > 15 ? bits - 15 : 0;
  const __m512i bit = _mm512_set1_epi64(s ? (int64_t)1 << (s - 1) : 0);
  const __m128i shift = _mm_cvtsi32_si128((int32_t)s);
  const __m256i most = _mm256_set1_epi32(32767), least = _mm256_set1_epi32(-32767);
  for (i = 0; i < n; i += 8) {
    const __mmask8 there = n - i >= 8 ? 0xFF : rest;
    const __m512i x = _mm512_add_epi64(_mm512_maskz_loadu_epi64(there, o + i), bit);
    const __m256i z = _mm512_cvtepi64_epi32(_mm512_sra_epi64(x, shift)); // abs <= 2^15
    const __m256i cut = _mm256_max_epi32(_mm256_min_epi32(z, most), least);
    const __m256i scaled = _mm256_mullo_epi32(cut, _mm256_set1_epi32((int32_t)r));
    _mm256_mask_storeu_epi32(y + i, there, scaled);
  }
  return s;
}

#endif
