// The frame of panels for AVX2 and AVX-VNNI, and the tiles of AVX2.
// SPDX-License-Identifier: Apache-2.0
//
// Proof that no lane overflows, for codes q within 127. Int32 lanes are modulo 2^32 and end at the
// sum of c * q, abs <= 127 * 127 * 2^17 < 2^31. Of the int16 lanes:
//
// bytes: VPMADDUBSW has abs(c) and q where c is not negative, else not(q) = -q - 1, which takes one
//   instruction that runs anywhere, where VPSIGNB is two of four: abs <= 2 * 127 * 128 = 32512 <
//   2^15. What it leaves too little is abs(c) where c is negative, the same for every token.

#include "../kernels.h"
#include "masked.h"

#if defined(__x86_64__)
#include "avx2_panels.h"
#include "avx2_sink.h"

_Static_assert(CURTA_PANEL_BYTES <= CURTA_PRODUCT_SCRATCH(1), "room for a panel");

/// The tokens t0 ... t1-1 of a packed chunk, `several` together; its columns, or all, begin at
/// `column`. Where tokens run out the last one is repeated.
CURTA_AVX2_INLINE void run_tokens(const curta_panel *p, const curta_panel_way *way,
                                  const curta_codes *x, size_t column, uint32_t t0, uint32_t t1,
                                  const curta_sink *to, int32_t *z, size_t z_stride,
                                  uint32_t several, int whole) {
  for (uint32_t t = t0, tokens; t < t1; t += tokens) {
    tokens = least(t1 - t, several);
    const int8_t *q[CURTA_PANEL_TILE];
    for (uint32_t i = 0; i < several; i++)
      q[i] = x->codes + (size_t)(t + least(i, tokens - 1)) * x->stride + column;
    __m256i sums[CURTA_PANEL_TILE][2];
    (tokens == 1 ? way->one : way->several)(p, q, sums);
    int32_t *const out = z + t * z_stride;
    if (tokens == several)
      deliver(to, several, (const __m256i(*)[2])sums, out, z_stride, whole);
    else
      deliver(to, tokens, (const __m256i(*)[2])sums, out, z_stride, whole);
  }
}

CURTA_AVX2 void curta_avx2_panels(const curta_weight *w, const curta_codes *x, uint32_t t0,
                                  uint32_t t1, uint32_t n0, uint32_t n1, int32_t *z,
                                  size_t z_stride, const curta_panel_way *way, void *scratch) {
  uint8_t *const codes = scratch;
  const uint32_t fitting = CURTA_PANEL_BYTES / way->block_bytes;
  curta_weight of = *w; // what the panel is of: a strip of it, when masked
  const uint16_t *places = 0;
  uint32_t top = 0; // its first row
  curta_panel p;
  p.codes = codes;
  curta_sink to;
  for (uint32_t n = n0, rows; n < n1; n += rows) {
    rows = least(n1 - n, CURTA_PANEL_ROWS);
    if (w->mask_starts) {
      const uint32_t strip = n / CURTA_STRIP_ROWS;
      of = curta_strip(w, strip);
      places = w->mask_blocks + w->mask_starts[strip];
      top = strip * CURTA_STRIP_ROWS;
      rows = least(n1, top + CURTA_STRIP_ROWS) - n;
    }
    const uint8_t *row[CURTA_PANEL_ROWS]; // where rows run out the last one is repeated
    for (uint32_t r = 0; r < CURTA_PANEL_ROWS; r++)
      row[r] = (const uint8_t *)of.codes + (size_t)(n - top + least(r, rows - 1)) * of.row_bytes;
    begin_sink(&to, &of, n - top, rows);
    // Chunks of the same size; one at least, which may be empty.
    const uint32_t blocks = (of.columns + 31) / 32;
    const uint32_t chunks = blocks ? (blocks + fitting - 1) / fitting : 1;
    const uint32_t most = (blocks + chunks - 1) / chunks;
    for (uint32_t chunk = 0; chunk < chunks; chunk++) {
      const uint32_t first = chunk * most;
      p.blocks = least(blocks - first, most);
      p.places = places ? places + first : 0;
      __m256i begins[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
      for (size_t b = 0; b < p.blocks; b++)
        way->pack(row, (first + b) * 32, codes + b * way->block_bytes, begins);
      store256(p.begins, begins[0]);
      store256(p.begins + 8, begins[1]);
      to.first = chunk == 0;
      to.last = chunk + 1 == chunks;
      const size_t column = places ? 0 : (size_t)first * 32;
      int32_t *const out = z + (n - n0);
      if (rows < CURTA_PANEL_ROWS)
        run_tokens(&p, way, x, column, t0, t1, &to, out, z_stride, way->tokens, 0);
      else if (way->tokens == 4)
        run_tokens(&p, way, x, column, t0, t1, &to, out, z_stride, 4, 1);
      else
        run_tokens(&p, way, x, column, t0, t1, &to, out, z_stride, CURTA_PANEL_TILE, 1);
    }
  }
}

// MARK: - Bytes

/// A step: magnitudes of 16 rows, then which of them are negative.
CURTA_AVX2 static void pack_bytes(const uint8_t *const *row, size_t at, uint8_t *to,
                                  __m256i *begins) {
  CURTA_UNROLL for (int h = 0; h < 2; h++) {
    __m256i c[8];
    turn_rows(row + 8 * h, at, c);
    __m256i all = _mm256_setzero_si256(); // of a pair at most 8 * 254
    CURTA_UNROLL for (int j = 0; j < 8; j++) {
      const __m256i size = _mm256_abs_epi8(c[j]);
      const __m256i negative = _mm256_cmpgt_epi8(_mm256_setzero_si256(), c[j]);
      store256(to + j * 128 + h * 32, size);
      store256(to + j * 128 + h * 32 + 64, negative);
      all = _mm256_add_epi16(
          all, _mm256_maddubs_epi16(_mm256_and_si256(size, negative), _mm256_set1_epi8(1)));
    }
    begins[h] = _mm256_add_epi32(begins[h], _mm256_madd_epi16(all, _mm256_set1_epi16(1)));
  }
}

/// Adds abs(c) * q or not(q) to `lanes`.
CURTA_AVX2_INLINE __m256i add_bytes(__m256i lanes, __m256i size, __m256i negative, __m256i q) {
  const __m256i pairs = _mm256_maddubs_epi16(size, _mm256_xor_si256(q, negative));
  return _mm256_add_epi32(lanes, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

CURTA_AVX2_INLINE void bytes_tile(const curta_panel *p, const int8_t *const *q, uint32_t tokens,
                                  __m256i (*sums)[2]) {
  __m256i lanes[4][2];
  CURTA_UNROLL for (uint32_t t = 0; t < tokens; t++) CURTA_UNROLL for (int h = 0; h < 2; h++)
      lanes[t][h] = load256(p->begins + 8 * h);
  const uint8_t *codes = p->codes;
  for (uint32_t b = 0; b < p->blocks; b++) {
    const size_t at = (p->places ? p->places[b] : b) * (size_t)32;
    for (uint32_t k = 0; k < 32; k += 4, codes += 128) {
      const __m256i size[2] = {load256(codes), load256(codes + 32)};
      const __m256i negative[2] = {load256(codes + 64), load256(codes + 96)};
      CURTA_UNROLL for (uint32_t t = 0; t < tokens; t++) {
        const __m256i own = four_codes(q[t] + at + k);
        CURTA_UNROLL for (int h = 0; h < 2; h++) lanes[t][h] =
            add_bytes(lanes[t][h], size[h], negative[h], own);
      }
    }
  }
  CURTA_UNROLL for (uint32_t t = 0; t < tokens; t++) CURTA_UNROLL for (int h = 0; h < 2; h++)
      sums[t][h] = lanes[t][h];
}

CURTA_AVX2 static void bytes_one(const curta_panel *p, const int8_t *const *q, __m256i (*sums)[2]) {
  bytes_tile(p, q, 1, sums);
}
CURTA_AVX2 static void bytes_four(const curta_panel *p, const int8_t *const *q,
                                  __m256i (*sums)[2]) {
  bytes_tile(p, q, 4, sums);
}

const curta_panel_way curta_avx2_bytes_way = {bytes_one, bytes_four, 4, pack_bytes, 1024};

#endif
