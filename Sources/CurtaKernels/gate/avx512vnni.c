// Rescaled sums and activations with AVX-512, which shifts and compares int64 lanes.
// SPDX-License-Identifier: Apache-2.0

#include "../kernels.h"

#if defined(__x86_64__)
#include "../arithmetic.h"
#include "../avx512.h"

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

CURTA_AVX512 void curta_add_rescaled__avx512vnni(int32_t *sum, const int32_t *z, uint32_t n,
                                                 uint32_t m, int32_t s) {
  const rescaling by = rescaling_by(s);
  const __m512i factor = _mm512_set1_epi64(m);
  uint32_t i = 0;
  for (; n - i >= 8; i += 8) {
    const __m512i x = rescaled(_mm512_mul_epi32(eight(z + i), factor), &by);
    const __m512i total = clamped(_mm512_add_epi64(x, eight(sum + i)), INT32_MAX);
    store256(sum + i, _mm512_cvtepi64_epi32(total));
  }
  curta_add_rescaled__scalar(sum + i, z + i, n - i, m, s);
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

CURTA_AVX512 void curta_activate__avx512vnni(const int32_t *zg, uint32_t n, uint32_t m, int32_t s,
                                             const uint16_t *table, int32_t *a) {
  const rescaling by = rescaling_by(s);
  const __m512i factor = _mm512_set1_epi64(m), one = _mm512_set1_epi32(1 << 15);
  uint32_t i = 0;
  for (; n - i >= 16; i += 16) {
    const __m512i low = clamped(rescaled(_mm512_mul_epi32(eight(zg + i), factor), &by), 1 << 30);
    const __m512i high =
        clamped(rescaled(_mm512_mul_epi32(eight(zg + i + 8), factor), &by), 1 << 30);
    const __m512i g = _mm512_inserti64x4(_mm512_castsi256_si512(_mm512_cvtepi64_epi32(low)),
                                         _mm512_cvtepi64_epi32(high), 1);
    const __m512i positive = lookup(table, _mm512_abs_epi32(g));
    const __mmask16 below = _mm512_movepi32_mask(g);
    const __m512i f = _mm512_mask_sub_epi32(positive, below, one, positive);
    const __m512i even = gated(g, f);
    const __m512i odd = gated(_mm512_srli_epi64(g, 32), _mm512_srli_epi64(f, 32));
    _mm512_storeu_si512(a + i, _mm512_mask_blend_epi32(0xAAAA, even, _mm512_slli_epi64(odd, 32)));
  }
  curta_activate__scalar(zg + i, n - i, m, s, table, a + i);
}

#endif
