// Residual sums and activations with AVX2.
// SPDX-License-Identifier: Apache-2.0
//
// Products of 64 bits come from VPMULDQ, which multiplies the even int32 lanes: the odd ones are
// shifted down, and both results are blended together again.

#include "../kernels.h"

#if defined(__x86_64__)
#include "../avx2.h"

/// rescale(., s) of int64 lanes, abs <= 2^47: x * 2^left; plus 2^(s-1); then a logical shift of
/// x + 2^62, which is positive, less 2^(62-s). AVX2 has no arithmetic shift of int64 lanes.
typedef struct {
  __m256i half;   // 2^(s-1) + 2^62
  __m256i offset; // 2^(62-s)
  __m128i left, right;
} rescaling;

CURTA_AVX2_INLINE rescaling rescaling_by(int32_t s) {
  const int32_t right = s < 0 ? 0 : s < 62 ? s : 62;
  const int32_t left = s >= 0 ? 0 : s > -14 ? -s : 14;
  const int64_t top = (int64_t)1 << 62;
  rescaling r;
  r.half = _mm256_set1_epi64x(top + (right ? (int64_t)1 << (right - 1) : 0));
  r.offset = _mm256_set1_epi64x(top >> right);
  r.left = _mm_cvtsi32_si128(left);
  r.right = _mm_cvtsi32_si128(right);
  return r;
}

CURTA_AVX2_INLINE __m256i rescaled(__m256i x, const rescaling *r) {
  const __m256i up = _mm256_add_epi64(_mm256_sll_epi64(x, r->left), r->half);
  return _mm256_sub_epi64(_mm256_srl_epi64(up, r->right), r->offset);
}

/// clamp(x, most) of int64 lanes.
CURTA_AVX2_INLINE __m256i clamped(__m256i x, __m256i most, __m256i least) {
  x = _mm256_blendv_epi8(x, most, _mm256_cmpgt_epi64(x, most));
  return _mm256_blendv_epi8(x, least, _mm256_cmpgt_epi64(least, x));
}

/// The int64 lanes that hold int32 values, even and odd, as eight int32 lanes.
CURTA_AVX2_INLINE __m256i joined(__m256i even, __m256i odd) {
  return _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xAA);
}

/// The even int32 lanes as int64 lanes.
CURTA_AVX2_INLINE __m256i even_lanes(__m256i x) {
  return _mm256_mul_epi32(x, _mm256_set1_epi64x(1));
}

/// rescale(z * m, s) of int32 lanes for s >= 17, abs <= 2^30: of the rounding only the bit below
/// the result matters.
CURTA_AVX2_INLINE __m256i rescaled32(__m256i z, __m256i m, __m256i less17) {
  const __m256i twice = _mm256_srav_epi32(high_product(z, m), less17);
  return _mm256_srai_epi32(_mm256_add_epi32(twice, _mm256_set1_epi32(1)), 1);
}

/// add_rescaled of any s.
__attribute__((noinline)) CURTA_AVX2 static void
add_wide(int32_t *sum, const int32_t *base, const int32_t *z, uint32_t n, uint32_t m, int32_t s) {
  const rescaling by = rescaling_by(s);
  const __m256i factor = _mm256_set1_epi64x(m);
  const __m256i most = _mm256_set1_epi64x(INT32_MAX), least = _mm256_set1_epi64x(-INT32_MAX);
  uint32_t i = 0;
  for (; n - i >= 8; i += 8) {
    const __m256i x = load256(z + i), old = load256(base + i);
    const __m256i x1 = _mm256_srli_epi64(x, 32), old1 = _mm256_srli_epi64(old, 32);
    __m256i even = rescaled(_mm256_mul_epi32(x, factor), &by);
    __m256i odd = rescaled(_mm256_mul_epi32(x1, factor), &by);
    even = clamped(_mm256_add_epi64(even, even_lanes(old)), most, least);
    odd = clamped(_mm256_add_epi64(odd, even_lanes(old1)), most, least);
    store256(sum + i, joined(even, odd));
  }
  curta_add_rescaled__scalar(sum + i, base + i, z + i, n - i, m, s);
}

CURTA_AVX2 void curta_add_rescaled__avx2(int32_t *sum, const int32_t *base, const int32_t *z,
                                         uint32_t n, uint32_t m, int32_t s) {
  const __m256i factor = _mm256_set1_epi32((int32_t)m), least = _mm256_set1_epi32(-INT32_MAX);
  // Shifts from 1 to 16 are 17 once z is shifted up, which is exact up to 2^(31 - up).
  const int32_t up = s > 0 && s < 17 ? 17 - s : 0;
  const __m256i more = _mm256_set1_epi32(up), less17 = _mm256_set1_epi32(s < 17 ? 0 : s - 17);
  const __m256i beyond = _mm256_set1_epi32((int32_t)(UINT32_MAX << (31 - (up & 31))));
  uint32_t i = 0;
  for (; s > 0 && n - i >= 16; i += 16) {
    __m256i u[2], wrapped = _mm256_setzero_si256(), digits = wrapped;
    for (uint32_t k = 0; k < 2; k++) {
      const __m256i old = load256(base + i + 8 * k), y = load256(z + i + 8 * k);
      const __m256i x = rescaled32(_mm256_sllv_epi32(y, more), factor, less17);
      u[k] = _mm256_add_epi32(old, x);
      digits = _mm256_or_si256(digits, _mm256_abs_epi32(y));
      const __m256i signs =
          _mm256_and_si256(_mm256_xor_si256(u[k], old), _mm256_xor_si256(u[k], x));
      wrapped = _mm256_or_si256(wrapped, signs);
    }
    if (!_mm256_testz_si256(digits, beyond) ||
        _mm256_movemask_ps(_mm256_castsi256_ps(wrapped)) != 0) {
      add_wide(sum + i, base + i, z + i, 16, m, s);
      continue;
    }
    for (uint32_t k = 0; k < 2; k++)
      store256(sum + i + 8 * k, _mm256_max_epi32(u[k], least));
  }
  add_wide(sum + i, base + i, z + i, n - i, m, s);
}

/// lookup(table, a) of int32 lanes, 0 <= a <= 2^30.
CURTA_AVX2_INLINE __m256i lookup(const uint16_t *table, __m256i a) {
  const __m256i b = _mm256_min_epi32(a, _mm256_set1_epi32(1 << 20));
  const __m256i i = _mm256_srli_epi32(b, 11);
  const __m256i r = _mm256_and_si256(b, _mm256_set1_epi32(2047));
  // Entries i and i + 1, i <= 512, in one load of 4 bytes.
  const __m256i two = _mm256_i32gather_epi32((const int *)(const void *)table, i, 2);
  const __m256i low = _mm256_and_si256(two, _mm256_set1_epi32(0xFFFF));
  const __m256i rise = _mm256_sub_epi32(_mm256_srli_epi32(two, 16), low);
  const __m256i part = _mm256_add_epi32(_mm256_mullo_epi32(rise, r), _mm256_set1_epi32(1024));
  return _mm256_add_epi32(low, _mm256_srai_epi32(part, 11));
}

/// round(g * f, 15) of the even lanes; abs(result) <= 2^30, so that the low 32 bits are right after
/// a logical shift.
CURTA_AVX2_INLINE __m256i gated(__m256i g, __m256i f) {
  const __m256i product = _mm256_add_epi64(_mm256_mul_epi32(g, f), _mm256_set1_epi64x(1 << 14));
  return _mm256_srli_epi64(product, 15);
}

CURTA_AVX2 void curta_activate__avx2(const int32_t *zg, uint32_t n, uint32_t m, int32_t s,
                                     const uint16_t *table, int32_t *a) {
  const rescaling by = rescaling_by(s);
  const __m256i factor = _mm256_set1_epi64x(m);
  const __m256i most = _mm256_set1_epi64x(1 << 30), least = _mm256_set1_epi64x(-(1 << 30));
  const __m256i one = _mm256_set1_epi32(1 << 15);
  uint32_t i = 0;
  for (; n - i >= 8; i += 8) {
    const __m256i x = load256(zg + i);
    __m256i g;
    if (s >= 17) {
      g = rescaled32(x, _mm256_set1_epi32((int32_t)m), _mm256_set1_epi32(s - 17));
    } else {
      const __m256i even = rescaled(_mm256_mul_epi32(x, factor), &by);
      const __m256i odd = rescaled(_mm256_mul_epi32(_mm256_srli_epi64(x, 32), factor), &by);
      g = joined(clamped(even, most, least), clamped(odd, most, least));
    }
    const __m256i positive = lookup(table, _mm256_abs_epi32(g));
    const __m256i negative = _mm256_sub_epi32(one, positive);
    const __m256i f = _mm256_blendv_epi8(positive, negative, _mm256_srai_epi32(g, 31));
    store256(a + i, joined(gated(g, f), gated(_mm256_srli_epi64(g, 32), _mm256_srli_epi64(f, 32))));
  }
  curta_activate__scalar(zg + i, n - i, m, s, table, a + i);
}

#endif
