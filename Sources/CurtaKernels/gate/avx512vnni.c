// Rescaled sums and activations with AVX-512, which shifts and compares int64 lanes.
// SPDX-License-Identifier: Apache-2.0

#include "../kernels.h"

#if defined(__x86_64__)
#include "../arithmetic.h"
#include "../avx512.h"
#include "../unroll.h"

/// rescale(., s) of int64 lanes, abs <= 2^47: x * 2^left plus 2^(s-1), shifted to the right.
typedef struct {
  __m512i half;
  __m128i left, right;
} rescaling;

CURTA_AVX512_INLINE rescaling rescaling_by(int32_t s) {
  const int32_t right = s < 0 ? 0 : s < 62 ? s : 62;
  const int32_t left = s >= 0 ? 0 : s > -14 ? -s : 14;
  rescaling r;
  r.half = _mm512_set1_epi64(right ? (int64_t)1 << (right - 1) : 0);
  r.left = _mm_cvtsi32_si128(left);
  r.right = _mm_cvtsi32_si128(right);
  return r;
}

CURTA_AVX512_INLINE __m512i rescaled(__m512i x, const rescaling *r) {
  const __m512i up = _mm512_add_epi64(_mm512_sll_epi64(x, r->left), r->half);
  return _mm512_sra_epi64(up, r->right);
}

CURTA_AVX512_INLINE __m512i clamped(__m512i x, int64_t most) {
  return _mm512_max_epi64(_mm512_min_epi64(x, _mm512_set1_epi64(most)), _mm512_set1_epi64(-most));
}

/// Eight int32 as int64.
CURTA_AVX512_INLINE __m512i eight(const int32_t *x) { return _mm512_cvtepi32_epi64(load256(x)); }

/// Adds 32 elements, or none where a z is too large to be shifted up or a sum wraps; 1 when they
/// are added. `shifts`, a constant: whether z is shifted up.
CURTA_AVX512_INLINE int add_32(int32_t *sum, const int32_t *base, const int32_t *z, __m512i m,
                               __m128i up, __m128i less17, __m512i beyond, int shifts) {
  __m512i u[2], digits = _mm512_setzero_si512(), wrapped = digits;
  CURTA_UNROLL for (uint32_t k = 0; k < 2; k++) {
    const __m512i old = load512(base + 16 * k), y = load512(z + 16 * k);
    const __m512i x = rescaled32(shifts ? _mm512_sll_epi32(y, up) : y, m, less17);
    u[k] = _mm512_add_epi32(old, x);
    // Of y and of its complement that which is not negative.
    if (shifts)
      digits = _mm512_or_si512(digits, _mm512_xor_si512(y, _mm512_srai_epi32(y, 31)));
    // (u ^ old) & (u ^ x)
    wrapped = _mm512_or_si512(wrapped, _mm512_ternarylogic_epi32(u[k], old, x, 0x18));
  }
  if ((shifts && _mm512_test_epi32_mask(digits, beyond) != 0) || _mm512_movepi32_mask(wrapped) != 0)
    return 0;
  CURTA_UNROLL for (uint32_t k = 0; k < 2; k++)
      store512(sum + 16 * k, _mm512_max_epi32(u[k], _mm512_set1_epi32(-INT32_MAX)));
  return 1;
}

CURTA_AVX512 void curta_add_rescaled__avx512vnni(int32_t *sum, const int32_t *base,
                                                 const int32_t *z, uint32_t n, uint32_t m,
                                                 int32_t s) {
  const rescaling by = rescaling_by(s);
  const __m512i factor = _mm512_set1_epi64(m), factor32 = _mm512_set1_epi32((int32_t)m);
  // Shifts from 1 to 16 are 17 once z is shifted up, which is exact up to 2^(31 - up).
  const int32_t up = s > 0 && s < 17 ? 17 - s : 0;
  const __m128i more = _mm_cvtsi32_si128(up), less17 = _mm_cvtsi32_si128(s < 17 ? 0 : s - 17);
  const __m512i beyond = _mm512_set1_epi32((int32_t)(UINT32_MAX << (31 - (up & 31))));
  uint32_t i = 0;
  while (n - i >= 8) {
    if (s > 0 && n - i >= 32 &&
        (up ? add_32(sum + i, base + i, z + i, factor32, more, less17, beyond, 1)
            : add_32(sum + i, base + i, z + i, factor32, more, less17, beyond, 0))) {
      i += 32;
      continue;
    }
    for (const uint32_t end = n - i >= 32 ? i + 32 : n; end - i >= 8; i += 8) {
      const __m512i x = rescaled(_mm512_mul_epi32(eight(z + i), factor), &by);
      const __m512i total = clamped(_mm512_add_epi64(x, eight(base + i)), INT32_MAX);
      store256(sum + i, _mm512_cvtepi64_epi32(total));
    }
  }
  curta_add_rescaled__scalar(sum + i, base + i, z + i, n - i, m, s);
}

/// lookup(table, a) of int32 lanes, 0 <= a <= 2^30.
CURTA_AVX512_INLINE __m512i lookup(const uint16_t *table, __m512i a) {
  const __m512i b = _mm512_min_epi32(a, _mm512_set1_epi32(1 << 20));
  const __m512i i = _mm512_srli_epi32(b, 11);
  const __m512i r = _mm512_and_si512(b, _mm512_set1_epi32(2047));
  // Entries i and i + 1, i <= 512, in one load of 4 bytes.
  const __m512i two = _mm512_i32gather_epi32(i, table, 2);
  const __m512i low = _mm512_and_si512(two, _mm512_set1_epi32(0xFFFF));
  const __m512i rise = _mm512_sub_epi32(_mm512_srli_epi32(two, 16), low);
  const __m512i part = _mm512_add_epi32(_mm512_mullo_epi32(rise, r), _mm512_set1_epi32(1024));
  return _mm512_add_epi32(low, _mm512_srai_epi32(part, 11));
}

/// round(g * f, 15) of the even lanes; abs(result) <= 2^30.
CURTA_AVX512_INLINE __m512i gated(__m512i g, __m512i f) {
  return _mm512_srli_epi64(_mm512_add_epi64(_mm512_mul_epi32(g, f), _mm512_set1_epi64(1 << 14)),
                           15);
}

/// activate of 16 from the i-th on.
CURTA_AVX512_INLINE void activate_16(const int32_t *zg, __m512i factor, const rescaling *by,
                                     const uint16_t *table, int32_t *a) {
  const __m512i low = clamped(rescaled(_mm512_mul_epi32(eight(zg), factor), by), 1 << 30);
  const __m512i high = clamped(rescaled(_mm512_mul_epi32(eight(zg + 8), factor), by), 1 << 30);
  const __m512i g = _mm512_inserti64x4(_mm512_castsi256_si512(_mm512_cvtepi64_epi32(low)),
                                       _mm512_cvtepi64_epi32(high), 1);
  const __m512i positive = lookup(table, _mm512_abs_epi32(g));
  const __mmask16 below = _mm512_movepi32_mask(g);
  const __m512i f = _mm512_mask_sub_epi32(positive, below, _mm512_set1_epi32(1 << 15), positive);
  const __m512i even = gated(g, f);
  const __m512i odd = gated(_mm512_srli_epi64(g, 32), _mm512_srli_epi64(f, 32));
  store512(a, _mm512_mask_blend_epi32(0xAAAA, even, _mm512_slli_epi64(odd, 32)));
}

/// Entry i, below 256, of eight vectors of int16.
CURTA_AVX512_INLINE __m512i entries(const __m512i *table, __m512i i, __mmask32 odd64,
                                    __mmask32 odd128) {
  const __m512i a = _mm512_permutex2var_epi16(table[0], i, table[1]);
  const __m512i b = _mm512_permutex2var_epi16(table[2], i, table[3]);
  const __m512i c = _mm512_permutex2var_epi16(table[4], i, table[5]);
  const __m512i d = _mm512_permutex2var_epi16(table[6], i, table[7]);
  return _mm512_mask_blend_epi16(odd128, _mm512_mask_blend_epi16(odd64, a, b),
                                 _mm512_mask_blend_epi16(odd64, c, d));
}

/// round(g * f, 15) of int32 lanes for abs(g) < 2^19: g is 16 * high + low.
CURTA_AVX512_INLINE __m512i gated32(__m512i g, __m512i f) {
  const __m512i high = _mm512_mullo_epi32(_mm512_srai_epi32(g, 4), f); // abs <= 2^30
  const __m512i low = _mm512_mullo_epi32(_mm512_and_si512(g, _mm512_set1_epi32(15)), f);
  const __m512i carried = _mm512_srli_epi32(_mm512_add_epi32(low, _mm512_set1_epi32(1 << 14)), 4);
  return _mm512_srai_epi32(_mm512_add_epi32(high, carried), 11);
}

CURTA_AVX512 void curta_activate__avx512vnni(const int32_t *zg, uint32_t n, uint32_t m, int32_t s,
                                             const uint16_t *table, int32_t *a) {
  const rescaling by = rescaling_by(s);
  const __m512i factor = _mm512_set1_epi64(m);
  uint32_t i = 0;
  if (s >= 17 && n >= 32) {
    // The entries of g below 8 stay in registers; a word is the rise to the next one.
    __m512i low[8], rise[8];
    CURTA_UNROLL for (int j = 0; j < 8; j++) {
      low[j] = load512(table + 32 * j);
      rise[j] = _mm512_sub_epi16(load512(table + 32 * j + 1), low[j]);
    }
    const __m512i m32 = _mm512_set1_epi32((int32_t)m), part = _mm512_set1_epi32(0x7FF0);
    const __m128i less17 = _mm_cvtsi32_si128(s - 17);
    for (; n - i >= 32; i += 32) {
      const __m512i g0 = rescaled32(load512(zg + i), m32, less17);
      const __m512i g1 = rescaled32(load512(zg + i + 16), m32, less17);
      const __m512i a0 = _mm512_abs_epi32(g0), a1 = _mm512_abs_epi32(g1);
      if (_mm512_cmpge_epi32_mask(_mm512_or_si512(a0, a1), _mm512_set1_epi32(1 << 19)) != 0) {
        activate_16(zg + i, factor, &by, table, a + i);
        activate_16(zg + i + 16, factor, &by, table, a + i + 16);
        continue;
      }
      // Words: the entry, and the way to the next one in Q15, so that VPMULHRSW interpolates.
      const __m512i at = _mm512_packus_epi32(_mm512_srli_epi32(a0, 11), _mm512_srli_epi32(a1, 11));
      const __m512i way = _mm512_packus_epi32(_mm512_and_si512(_mm512_slli_epi32(a0, 4), part),
                                              _mm512_and_si512(_mm512_slli_epi32(a1, 4), part));
      const __mmask32 odd64 = _mm512_movepi16_mask(_mm512_slli_epi16(at, 9));
      const __mmask32 odd128 = _mm512_movepi16_mask(_mm512_slli_epi16(at, 8));
      const __m512i step = _mm512_mulhrs_epi16(entries(rise, at, odd64, odd128), way);
      const __m512i positive = _mm512_add_epi16(entries(low, at, odd64, odd128), step);
      const __mmask32 below = _mm512_movepi16_mask(_mm512_packs_epi32(g0, g1));
      const __m512i f =
          _mm512_mask_sub_epi16(positive, below, _mm512_set1_epi16(INT16_MIN), positive);
      const __m512i zero = _mm512_setzero_si512();
      store512(a + i, gated32(g0, _mm512_unpacklo_epi16(f, zero)));
      store512(a + i + 16, gated32(g1, _mm512_unpackhi_epi16(f, zero)));
    }
  }
  for (; n - i >= 16; i += 16)
    activate_16(zg + i, factor, &by, table, a + i);
  curta_activate__scalar(zg + i, n - i, m, s, table, a + i);
}

#endif
