// Overlays with AVX2: sixteen tokens side by side, two values a step.
// SPDX-License-Identifier: Apache-2.0
//
// Proof that no lane overflows: an int32 lane takes abs <= 127 * 127 a value. There are at most
// 2^17 columns, 2 114 060 288 < 2^31, and at most 65535 entries in a row of a residual. With m and
// the step a sum is at most A * 127 * 65535 < 2^55. round(., s) fits int32 and s <= 27, so that the
// low 32 bits of a logical shift are those of an arithmetic one.

#include "../kernels.h"
#include "../unroll.h"

#if defined(__x86_64__)
#include "../avx2.h"

enum { TOKENS = CURTA_TURNED_TOKENS };

/// 16 rows of 16 bytes with rows and columns exchanged: `out` gets 16 of 16 bytes one after the
/// other.
CURTA_AVX2_INLINE void turn_square(__m128i *x, int8_t *out) {
  __m128i y[16];
  // A round interleaves row i with row i + 8; after four, byte j of row i is byte i of row j.
  for (int round = 0; round < 2; round++) {
    CURTA_UNROLL for (int i = 0; i < 8; i++) {
      y[2 * i] = _mm_unpacklo_epi8(x[i], x[i + 8]);
      y[2 * i + 1] = _mm_unpackhi_epi8(x[i], x[i + 8]);
    }
    CURTA_UNROLL for (int i = 0; i < 8; i++) {
      x[2 * i] = _mm_unpacklo_epi8(y[i], y[i + 8]);
      x[2 * i + 1] = _mm_unpackhi_epi8(y[i], y[i + 8]);
    }
  }
  CURTA_UNROLL for (int i = 0; i < 16; i++) store128(out + 16 * i, x[i]);
}

CURTA_AVX2 void curta_turn_codes__avx2(const int8_t *q, size_t stride, uint32_t rows,
                                       uint32_t columns, int8_t *turned) {
  for (uint32_t k = 0; k < columns; k += 16) {
    __m128i x[16];
    for (uint32_t t = 0; t < 16; t++)
      x[t] = t < rows ? load128(q + t * stride + k) : _mm_setzero_si128();
    turn_square(x, turned + (size_t)k * TOKENS);
  }
}

/// sums [2] of 8 tokens += a * the codes at p + b * the codes at r.
CURTA_AVX2_INLINE void add_pair(__m256i *sums, const int8_t *p, const int8_t *r, int8_t a,
                                int8_t b) {
  const __m256i values = _mm256_set1_epi32((int32_t)((uint16_t)a | (uint32_t)(uint16_t)b << 16));
  const __m128i x = load128(p), y = load128(r);
  const __m256i low = _mm256_cvtepi8_epi16(_mm_unpacklo_epi8(x, y));
  const __m256i high = _mm256_cvtepi8_epi16(_mm_unpackhi_epi8(x, y));
  sums[0] = _mm256_add_epi32(sums[0], _mm256_madd_epi16(low, values));
  sums[1] = _mm256_add_epi32(sums[1], _mm256_madd_epi16(high, values));
}

CURTA_AVX2_INLINE void add_columns(const curta_weight *w, uint32_t n, const int8_t *q,
                                   __m256i *sums) {
  const int8_t *v = w->outlier_values + (size_t)n * w->outliers;
  const uint32_t *k = w->outlier_columns;
  uint32_t i = 0;
  for (; i + 2 <= w->outliers; i += 2)
    add_pair(sums, q + (size_t)k[i] * TOKENS, q + (size_t)k[i + 1] * TOKENS, v[i], v[i + 1]);
  if (i < w->outliers)
    add_pair(sums, q + (size_t)k[i] * TOKENS, q + (size_t)k[i] * TOKENS, v[i], 0);
}

CURTA_AVX2_INLINE void add_entries(const curta_weight *w, uint32_t n, const int8_t *q,
                                   __m256i *sums) {
  const uint32_t end = w->residual_starts[n + 1];
  const uint8_t *gaps = w->residual_gaps;
  const int8_t *v = w->residual_values;
  uint32_t i = w->residual_starts[n];
  for (; i + 2 <= end; i += 2) {
    const int8_t *first = q + (size_t)gaps[i] * TOKENS;
    q = first + ((size_t)gaps[i + 1] + 1) * TOKENS;
    add_pair(sums, first, q, v[i], v[i + 1]);
    q += TOKENS;
  }
  if (i < end)
    add_pair(sums, q + (size_t)gaps[i] * TOKENS, q + (size_t)gaps[i] * TOKENS, v[i], 0);
}

/// round((columns * 2^p + entries * 2^p') * m, shift) of the even int32 lanes, in their low halves.
CURTA_AVX2_INLINE __m256i finished_even(const curta_weight *w, __m256i m, __m256i columns,
                                        __m256i entries) {
  const __m256i a =
      _mm256_sll_epi64(_mm256_mul_epi32(columns, m), _mm_cvtsi32_si128((int32_t)w->outlier_step));
  const __m256i b =
      _mm256_sll_epi64(_mm256_mul_epi32(entries, m), _mm_cvtsi32_si128((int32_t)w->residual_step));
  const __m256i half = _mm256_set1_epi64x(w->shift ? (int64_t)1 << (w->shift - 1) : 0);
  return _mm256_srl_epi64(_mm256_add_epi64(_mm256_add_epi64(a, b), half),
                          _mm_cvtsi32_si128((int32_t)w->shift));
}

CURTA_AVX2_INLINE __m256i finished(const curta_weight *w, __m256i m, __m256i columns,
                                   __m256i entries) {
  const __m256i even = finished_even(w, m, columns, entries);
  const __m256i odd =
      finished_even(w, m, _mm256_srli_epi64(columns, 32), _mm256_srli_epi64(entries, 32));
  return _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xAA);
}

/// x[i][j] becomes x[j][i], eight by eight.
CURTA_AVX2_INLINE void exchange(__m256i *x) {
  __m256i a[8], b[8];
  CURTA_UNROLL for (int i = 0; i < 8; i += 2) {
    a[i] = _mm256_unpacklo_epi32(x[i], x[i + 1]);
    a[i + 1] = _mm256_unpackhi_epi32(x[i], x[i + 1]);
  }
  CURTA_UNROLL for (int i = 0; i < 8; i += 4) {
    b[i] = _mm256_unpacklo_epi64(a[i], a[i + 2]);
    b[i + 1] = _mm256_unpackhi_epi64(a[i], a[i + 2]);
    b[i + 2] = _mm256_unpacklo_epi64(a[i + 1], a[i + 3]);
    b[i + 3] = _mm256_unpackhi_epi64(a[i + 1], a[i + 3]);
  }
  CURTA_UNROLL for (int i = 0; i < 4; i++) {
    x[i] = _mm256_permute2x128_si256(b[i], b[i + 4], 0x20);
    x[i + 4] = _mm256_permute2x128_si256(b[i], b[i + 4], 0x31);
  }
}

/// Adds eight rows of eight tokens to z, of which `tokens` are there; exchanges x.
CURTA_AVX2_INLINE void add_square(__m256i *x, uint32_t tokens, int32_t *z, size_t z_stride) {
  exchange(x);
  for (uint32_t t = 0; t < 8 && t < tokens; t++)
    store256(z + t * z_stride, _mm256_add_epi32(load256(z + t * z_stride), x[t]));
}

/// Adds one row of eight tokens to z.
CURTA_AVX2_INLINE void add_row(__m256i x, uint32_t tokens, int32_t *z, size_t z_stride) {
  int32_t values[8];
  store256(values, x);
  for (uint32_t t = 0; t < 8 && t < tokens; t++)
    z[t * z_stride] += values[t];
}

CURTA_AVX2 void curta_add_overlays__avx2(const curta_weight *w, const int8_t *turned,
                                         uint32_t stride, uint32_t tokens, uint32_t n0, uint32_t n1,
                                         int32_t *z, size_t z_stride) {
  if (tokens == 1) {
    curta_add_overlays__scalar(w, turned, stride, tokens, n0, n1, z, z_stride);
    return;
  }
  for (uint32_t t = 0; t < tokens; t += TOKENS) {
    const int8_t *q = turned + (size_t)t * stride;
    const uint32_t left = tokens - t, behind = left > 8 ? left - 8 : 0;
    int32_t *to = z + t * z_stride;
    for (uint32_t n = n0; n < n1; n += 8) {
      const uint32_t rows = n1 - n < 8 ? n1 - n : 8;
      __m256i low[8], high[8];
      for (uint32_t r = 0; r < rows; r++) {
        __m256i columns[2], entries[2];
        columns[0] = columns[1] = entries[0] = entries[1] = _mm256_setzero_si256();
        add_columns(w, n + r, q, columns);
        if (w->residual_starts)
          add_entries(w, n + r, q, entries);
        const __m256i m = _mm256_set1_epi64x(w->mantissas[n + r]);
        low[r] = finished(w, m, columns[0], entries[0]);
        high[r] = finished(w, m, columns[1], entries[1]);
      }
      if (rows == 8) {
        add_square(low, left, to + n - n0, z_stride);
        add_square(high, behind, to + 8 * z_stride + n - n0, z_stride);
      } else {
        for (uint32_t r = 0; r < rows; r++) {
          add_row(low[r], left, to + n + r - n0, z_stride);
          add_row(high[r], behind, to + 8 * z_stride + n + r - n0, z_stride);
        }
      }
    }
  }
}

#endif
