// Attention of one query head over its positions with AVX2: logits and weights.
// SPDX-License-Identifier: Apache-2.0

#include "../kernels.h"

#if defined(__x86_64__)
#include "../arithmetic.h"
#include "../avx2.h"
#include "../unroll.h"

/// rescale of int64 lanes by each lane's s, abs(x) <= 2^48: x * 2^left, plus 2^(s-1), then a
/// logical shift of x + 2^62, which is positive, less 2^(62-s). Counts past 63 shift to 0. The
/// upper halves of the lanes of s are 0.
CURTA_AVX2_INLINE __m256i rescaled(__m256i x, __m256i s) {
  const __m256i zero = _mm256_setzero_si256(), one = _mm256_set1_epi64x(1);
  const __m256i top = _mm256_set1_epi64x((int64_t)1 << 62);
  const __m256i right = _mm256_max_epi32(_mm256_min_epi32(s, _mm256_set1_epi64x(62)), zero);
  const __m256i left =
      _mm256_sub_epi32(zero, _mm256_max_epi32(_mm256_min_epi32(s, zero), _mm256_set1_epi64x(-14)));
  const __m256i half = _mm256_sllv_epi64(one, _mm256_sub_epi64(right, one));
  const __m256i up = _mm256_add_epi64(_mm256_add_epi64(_mm256_sllv_epi64(x, left), half), top);
  return _mm256_sub_epi64(_mm256_srlv_epi64(up, right), _mm256_srlv_epi64(top, right));
}

/// score_logits of any shifts.
CURTA_AVX2 static int32_t wide_logits(int32_t *a, const curta_scale *k, uint32_t n, uint32_t m,
                                      int32_t e) {
  const __m256i factor = _mm256_set1_epi64x(m), exponent = _mm256_set1_epi64x((uint32_t)e);
  const __m256i low = _mm256_set1_epi64x(0xFFFFFFFF), half = _mm256_set1_epi64x(1 << 13);
  const __m256i high = _mm256_set1_epi64x(1 << 30), least = _mm256_set1_epi64x(-(1 << 30));
  const __m256i even = _mm256_setr_epi32(0, 2, 4, 6, 0, 2, 4, 6);
  __m128i most = _mm_set1_epi32(INT32_MIN);
  uint32_t j = 0;
  for (; n - j >= 4; j += 4) {
    const __m256i scale = load256(k + j); // m in the low half of each lane, e in the high half
    const __m256i product =
        _mm256_mul_epi32(_mm256_cvtepi32_epi64(load128(a + j)), _mm256_and_si256(scale, low));
    // abs(score) <= 2^24: its low 32 bits are right after a logical shift.
    const __m256i score = _mm256_srli_epi64(_mm256_add_epi64(product, half), 14);
    const __m256i s = _mm256_add_epi32(_mm256_srli_epi64(scale, 32), exponent);
    __m256i t = rescaled(_mm256_mul_epi32(score, factor), s);
    t = _mm256_blendv_epi8(t, high, _mm256_cmpgt_epi64(t, high));
    t = _mm256_blendv_epi8(t, least, _mm256_cmpgt_epi64(least, t));
    const __m128i four = low128(_mm256_permutevar8x32_epi32(t, even));
    store128(a + j, four);
    most = _mm_max_epi32(most, four);
  }
  most = _mm_max_epi32(most, _mm_unpackhi_epi64(most, most));
  most = _mm_max_epi32(most, _mm_shuffle_epi32(most, 1));
  const int32_t x = _mm_cvtsi128_si32(most);
  const int32_t y = curta_score_logits__scalar(a + j, k + j, n - j, m, e); // INT32_MIN for none
  return x > y ? x : y;
}

/// The even (m) or odd (e) int32 of eight scales.
CURTA_AVX2_INLINE __m256i eight_of(const curta_scale *v, int odd) {
  const __m256i order =
      odd ? _mm256_setr_epi32(1, 3, 5, 7, 1, 3, 5, 7) : _mm256_setr_epi32(0, 2, 4, 6, 0, 2, 4, 6);
  return _mm256_blend_epi32(_mm256_permutevar8x32_epi32(load256(v), order),
                            _mm256_permutevar8x32_epi32(load256(v + 4), order), 0xF0);
}

/// The same in the order 0 1 4 5 2 3 6 7, which one instruction less makes, and the eight lanes at
/// x in that order and back.
CURTA_AVX2_INLINE __m256i mixed_of(const curta_scale *v, int odd) {
  const __m256 first = _mm256_castsi256_ps(load256(v));
  const __m256 second = _mm256_castsi256_ps(load256(v + 4));
  return _mm256_castps_si256(odd ? _mm256_shuffle_ps(first, second, 0xDD)
                                 : _mm256_shuffle_ps(first, second, 0x88));
}
CURTA_AVX2_INLINE __m256i mixed(__m256i x) { return _mm256_permute4x64_epi64(x, 0xD8); }

CURTA_AVX2 int32_t curta_score_logits__avx2(int32_t *a, const curta_scale *k, uint32_t n,
                                            uint32_t m, int32_t e) {
  // Of a * 2^8, within 2^30, round(a * k.m, 14) is that of 6 digits of the high product; it is
  // within 2^24. Shifts from 11 on round the high product of score * 2^6, to less than 2^30.
  const __m256i factor = _mm256_set1_epi32((int32_t)m), one = _mm256_set1_epi32(1);
  __m256i most = _mm256_set1_epi32(INT32_MIN);
  int32_t other = INT32_MIN;
  uint32_t j = 0;
  for (; n - j >= 8; j += 8) {
    const __m256i km = mixed_of(k + j, 0), ke = mixed_of(k + j, 1);
    const __m256i x = _mm256_slli_epi32(mixed(load256(a + j)), 8);
    const __m256i digits = _mm256_add_epi32(high_product(x, km), _mm256_set1_epi32(1 << 5));
    const __m256i score = _mm256_srai_epi32(digits, 6);
    const __m256i s = _mm256_add_epi32(ke, _mm256_set1_epi32(e)), eleven = _mm256_set1_epi32(11);
    if (_mm256_movemask_epi8(_mm256_cmpgt_epi32(eleven, s)) != 0) {
      const int32_t y = wide_logits(a + j, k + j, 8, m, e);
      other = y > other ? y : other;
      continue;
    }
    const __m256i all = high_product(_mm256_slli_epi32(score, 6), factor);
    const __m256i twice = _mm256_srav_epi32(all, _mm256_sub_epi32(s, eleven));
    const __m256i t = _mm256_srai_epi32(_mm256_add_epi32(twice, one), 1);
    store256(a + j, mixed(t));
    most = _mm256_max_epi32(most, t);
  }
  // The largest is that of unsigned numbers, once the signs are turned.
  const __m256i sign = _mm256_set1_epi32(INT32_MIN);
  const int32_t z = (int32_t)(largest_u32(_mm256_xor_si256(most, sign)) ^ 1u << 31);
  const int32_t y = wide_logits(a + j, k + j, n - j, m, e); // INT32_MIN for none
  other = y > other ? y : other;
  return z > other ? z : other;
}

CURTA_AVX2 void curta_code_logits__avx2(int32_t *t, uint32_t n, int32_t max,
                                        const curta_score_code *code) {
  const __m256i top = _mm256_set1_epi32(max), most = _mm256_set1_epi32(1 << 24);
  uint32_t j = 0;
  for (; n - j >= 8; j += 8) {
    const __m256i d = _mm256_min_epu32(_mm256_sub_epi32(top, load256(t + j)), most);
    __m256i level = _mm256_set1_epi32(code->level[0]);
    for (uint32_t c = 0; c < code->edges; c++)
      level = _mm256_blendv_epi8(_mm256_set1_epi32(code->level[c + 1]), level,
                                 _mm256_cmpgt_epi32(_mm256_set1_epi32(code->edge[c]), d));
    store256(t + j, _mm256_sub_epi32(top, level));
  }
  curta_code_logits__scalar(t + j, n - j, max, code);
}

/// round(x, s) of uint32 lanes, x < 2^31, any s: lanes of 2^(s-1) and of x become 0 past their
/// width.
CURTA_AVX2_INLINE __m256i rounded(__m256i x, __m256i s) {
  const __m256i one = _mm256_set1_epi32(1);
  const __m256i half = _mm256_sllv_epi32(one, _mm256_sub_epi32(s, one));
  return _mm256_srlv_epi32(_mm256_add_epi32(x, half), s);
}

/// Entries i and i + 1 of EXP15 in a lane, i < 32.
typedef struct {
  __m256i part[4];
} exp15_entries;

CURTA_AVX2_INLINE exp15_entries entries_of_exp15(void) {
  exp15_entries e;
  CURTA_UNROLL for (int i = 0; i < 4; i++) {
    const uint16_t *at = curta_exp15_table + 8 * i;
    e.part[i] = _mm256_or_si256(_mm256_cvtepu16_epi32(load128(at)),
                                _mm256_slli_epi32(_mm256_cvtepu16_epi32(load128(at + 1)), 16));
  }
  return e;
}

/// exp15(d) of uint32 lanes. Digits 0 to 2 of i choose in each part, 3 and 4 the part.
CURTA_AVX2_INLINE __m256i exp15(const exp15_entries *e, __m256i d) {
  const __m256i i = _mm256_srli_epi32(d, 11);
  const __m256i r = _mm256_and_si256(d, _mm256_set1_epi32(2047));
  const __m256 by3 = _mm256_castsi256_ps(_mm256_slli_epi32(d, 31 - 14));
  const __m256 by4 = _mm256_castsi256_ps(_mm256_slli_epi32(d, 31 - 15));
  __m256 of[4];
  CURTA_UNROLL for (int k = 0; k < 4; k++) of[k] =
      _mm256_castsi256_ps(_mm256_permutevar8x32_epi32(e->part[k], i));
  const __m256i two = _mm256_castps_si256(_mm256_blendv_ps(
      _mm256_blendv_ps(of[0], of[1], by3), _mm256_blendv_ps(of[2], of[3], by3), by4));
  const __m256i high = _mm256_and_si256(two, _mm256_set1_epi32(0xFFFF));
  const __m256i fall = _mm256_sub_epi32(high, _mm256_srli_epi32(two, 16));
  // Of two factors below 2^15, in the low halves of lanes.
  const __m256i part = _mm256_add_epi32(_mm256_madd_epi16(fall, r), _mm256_set1_epi32(1024));
  const __m256i n = _mm256_min_epu32(_mm256_srli_epi32(d, 16), _mm256_set1_epi32(31));
  return rounded(_mm256_sub_epi32(high, _mm256_srli_epi32(part, 11)), n);
}

/// The largest u[j] >> min(v[j].e - least, 31).
CURTA_AVX2_INLINE uint32_t largest_shifted(const int32_t *u, const curta_scale *v, uint32_t n,
                                           int32_t least) {
  __m256i most = _mm256_setzero_si256();
  uint32_t j = 0;
  for (; n - j >= 8; j += 8) {
    const __m256i up = _mm256_sub_epi32(mixed_of(v + j, 1), _mm256_set1_epi32(least));
    const __m256i s = _mm256_min_epu32(up, _mm256_set1_epi32(31));
    most = _mm256_max_epu32(most, _mm256_srlv_epi32(mixed(load256(u + j)), s));
  }
  uint32_t all = largest_u32(most);
  for (; j < n; j++) {
    const uint32_t up = (uint32_t)v[j].e - (uint32_t)least;
    const uint32_t x = (uint32_t)u[j] >> (up < 31 ? up : 31);
    all = x > all ? x : all;
  }
  return all;
}

CURTA_AVX2 uint32_t curta_score_weights__avx2(int32_t *t, const curta_scale *v, uint32_t n,
                                              int32_t max, uint64_t *total, int32_t *least) {
  const exp15_entries entries = entries_of_exp15();
  const __m256i top = _mm256_set1_epi32(max), low = _mm256_set1_epi64x(0xFFFFFFFF);
  __m256i sum = _mm256_setzero_si256(), e0 = _mm256_set1_epi32(INT32_MAX);
  uint32_t j = 0;
  for (; n - j >= 8; j += 8) {
    const __m256i w = exp15(&entries, _mm256_sub_epi32(top, mixed(load256(t + j))));
    sum = _mm256_add_epi64(sum, _mm256_and_si256(w, low));
    sum = _mm256_add_epi64(sum, _mm256_srli_epi64(w, 32));
    e0 = _mm256_min_epi32(e0, mixed_of(v + j, 1));
    store256(t + j, mixed(_mm256_mullo_epi32(w, mixed_of(v + j, 0))));
  }
  uint64_t rest_total;
  int32_t rest_least;
  curta_score_weights__scalar(t + j, v + j, n - j, max, &rest_total, &rest_least);
  // The least e is the largest of its complement as an unsigned number.
  const __m256i flip = _mm256_set1_epi32(INT32_MAX);
  const int32_t vector_least =
      (int32_t)(largest_u32(_mm256_xor_si256(e0, flip)) ^ (uint32_t)INT32_MAX);
  *total = (uint64_t)sum_of_i64(sum) + rest_total;
  *least = vector_least < rest_least ? vector_least : rest_least;
  return largest_shifted(t, v, n, *least);
}

CURTA_AVX2 void curta_narrow_weights__avx2(const uint32_t *u, const curta_scale *v, uint32_t n,
                                           int32_t least, uint32_t s, int16_t *c) {
  const __m256i most = _mm256_set1_epi32(32767), limit = _mm256_set1_epi32(62);
  const __m256i base = _mm256_set1_epi32((int32_t)(s < 62 ? s : 62));
  uint32_t j = 0;
  for (; n - j >= 8; j += 8) {
    const __m256i up = _mm256_sub_epi32(eight_of(v + j, 1), _mm256_set1_epi32(least));
    const __m256i down = _mm256_add_epi32(_mm256_min_epu32(up, limit), base);
    const __m256i x = _mm256_min_epu32(rounded(load256(u + j), down), most);
    store128(c + j, _mm_packs_epi32(low128(x), high128(x)));
  }
  curta_narrow_weights__scalar(u + j, v + j, n - j, least, s, c + j);
}

CURTA_AVX2 uint32_t curta_scaled_sums__avx2(const int64_t *o, uint32_t n, uint32_t r, int32_t *y) {
  __m256i any = _mm256_setzero_si256();
  uint32_t i = 0;
  for (; n - i >= 4; i += 4) {
    const __m256i x = load256(o + i), sign = _mm256_cmpgt_epi64(_mm256_setzero_si256(), x);
    any = _mm256_or_si256(any, _mm256_sub_epi64(_mm256_xor_si256(x, sign), sign));
  }
  const __m128i half = _mm_or_si128(low128(any), high128(any));
  uint64_t all = (uint64_t)_mm_cvtsi128_si64(_mm_or_si128(half, _mm_unpackhi_epi64(half, half)));
  for (; i < n; i++)
    all |= (uint64_t)(o[i] < 0 ? -o[i] : o[i]);
  const uint32_t bits = curta_bits(all), s = bits > 15 ? bits - 15 : 0;
  // Below 2^47, the low 32 bits are right after a logical shift.
  const __m256i bit = _mm256_set1_epi64x(s ? (int64_t)1 << (s - 1) : 0);
  const __m256i order = _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7);
  const __m128i most = _mm_set1_epi32(32767), least = _mm_set1_epi32(-32767);
  for (i = 0; n - i >= 4; i += 4) {
    const __m256i x =
        _mm256_srl_epi64(_mm256_add_epi64(load256(o + i), bit), _mm_cvtsi32_si128((int32_t)s));
    const __m128i z = low128(_mm256_permutevar8x32_epi32(x, order));
    const __m128i cut = _mm_max_epi32(_mm_min_epi32(z, most), least);
    store128(y + i, _mm_mullo_epi32(cut, _mm_set1_epi32((int32_t)r)));
  }
  for (; i < n; i++)
    y[i] = (int32_t)curta_clamp(curta_round(o[i], s), 32767) * (int32_t)r;
  return s;
}

#endif
