// Products of grid tensors with AVX-512 VNNI for many tokens: two panels of 16 rows by 12 tokens,
// by 6 where sums meet scales. SPDX-License-Identifier: Apache-2.0
//
// A panel holds 16 rows of a chunk of columns as unsigned codes, code + bias, four columns of all
// rows after each other: a lane of VPDPBUSD is a row, an operand broadcast from memory has four
// codes of a token, which serves two panels: loads would bind one. Packing costs one pass over the
// weights for every CURTA_PRODUCT_TOKENS tokens.
//
// Proof that no lane overflows: VPDPBUSD adds modulo 2^32, and a group's lane begins at
// -bias * (sum of q), so that it ends at the sum of c * q, abs <= 127 * 127 * 2^17 < 2^31. Nibbles
// with scales go block by block: abs <= 32 * 8 * 127 = 32512 < 2^15, so that VPDPWSSD of the low
// halves multiplies by the scale and adds. Over a chunk: 8 * 127 * 255 * 768 < 2^28 (nibbles) and
// 127 * 127 * 255 * 512 = 2 105 802 240 < 2^31 (bytes). Chunks add up in int32 where the whole row
// fits (`narrow`), else as lower 16 bits, 256 chunks of them below 2^24, and what is above.

#include "../kernels.h"
#include "vnni.h"

#if defined(__x86_64__)
#include "avx512vnni_pack.h"

/// How sums meet scales: not at all, those that fit int16, any.
enum scaling { NONE, HALVES, WHOLE };

/// Adds the chunk's products of `panels` panels with `tokens` tokens to sums[panel * tokens +
/// token]; what is not there is not looked at afterwards.
CURTA_AVX512_INLINE void tile(const chunk *c, const packed_panel *panel, uint32_t i,
                              uint32_t panels, uint32_t tokens, enum scaling scaling,
                              __m512i *sums) {
  const packed_tile *of = &c->tiles[i / TILE];
  const int32_t *first = of->q[0] + i % TILE;
  const int32_t(*corrections)[CHUNK] = of->corrections.parts + i % TILE;
  uint32_t b = 0;
  // Without scales the chunk is one part.
  const uint32_t parts = scaling == NONE ? 1 : c->parts;
  for (uint32_t g = 0; g < parts; g++) {
    __m512i lanes[2 * TILE];
    const uint32_t end = scaling == NONE ? c->survivors : c->ends[g];
    const size_t start = scaling == NONE ? 0 : c->starts[g];
    CURTA_UNROLL for (uint32_t t = 0; t < tokens; t++) {
      const __m512i begin = spread32(scaling == NONE ? &of->all[t] : &corrections[t][start]);
      CURTA_UNROLL for (uint32_t k = t; k < panels * tokens; k += tokens) lanes[k] =
          scaling == NONE ? _mm512_add_epi32(begin, sums[k]) : begin;
    }
    for (; b < end; b++) {
      const int32_t *q = first + (size_t)c->places[b] * (8 * TILE);
      CURTA_UNROLL for (uint32_t j = 0; j < 8; j++) {
        __m512i u[2];
        CURTA_UNROLL for (uint32_t p = 0; p < panels; p++) u[p] =
            load512(panel[p].codes[8 * b + j]);
        CURTA_UNROLL for (uint32_t t = 0; t < tokens; t++) {
          const __m512i own = spread32(q + TILE * j + t);
          CURTA_UNROLL for (uint32_t p = 0; p < panels; p++) lanes[p * tokens + t] =
              _mm512_dpbusd_epi32(lanes[p * tokens + t], u[p], own);
        }
      }
    }
    CURTA_UNROLL for (uint32_t k = 0; k < panels * tokens; k++) {
      const __m512i scale = load512(panel[k / tokens].scales[g]);
      if (scaling == HALVES)
        sums[k] = _mm512_dpwssd_epi32(sums[k], lanes[k], scale);
      else if (scaling == WHOLE)
        sums[k] = _mm512_add_epi32(sums[k], _mm512_mullo_epi32(lanes[k], scale));
      else
        sums[k] = lanes[k];
    }
  }
}

/// Where the sums of a panel go: into z while chunks are added, their lower 16 bits when they are
/// wide.
typedef struct {
  int32_t *z; // of the panel's first row and the tile's first token
  size_t z_stride;
  int32_t (*upper)[PANEL]; // sums of what is above 16 bits, or NULL
  __mmask16 rows;
  int first, last; // chunk
} sink;

CURTA_AVX512_INLINE __m512i half_of(__m512i x, int upper) {
  return _mm512_cvtepi32_epi64(upper ? _mm512_extracti64x4_epi64(x, 1) : _mm512_castsi512_si256(x));
}

/// round(s * m, shift) of 16 sums s = 2^16 * upper + lower.
CURTA_AVX512_INLINE __m512i finish_wide(const curta_weight *w, __m512i upper, __m512i lower,
                                        __m512i m) {
  const __m512i up = _mm512_set1_epi64(w->shift ? (int64_t)1 << (w->shift - 1) : 0);
  const __m128i shift = _mm_cvtsi32_si128((int32_t)w->shift);
  __m256i y[2];
  CURTA_UNROLL for (int i = 0; i < 2; i++) {
    const __m512i high = _mm512_slli_epi64(half_of(upper, i), 16);
    const __m512i sum = _mm512_add_epi64(high, half_of(lower, i));
    const __m512i product = _mm512_mullo_epi64(sum, half_of(m, i));
    y[i] = _mm512_cvtepi64_epi32(_mm512_sra_epi64(_mm512_add_epi64(product, up), shift));
  }
  return _mm512_inserti64x4(_mm512_castsi256_si512(y[0]), y[1], 1);
}

CURTA_AVX512_INLINE __m512i mantissas(const curta_weight *w, uint32_t n, __mmask16 rows) {
  return _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(rows, w->mantissas + n));
}

/// Brings the sums of the tokens from i on to where they go; they are overwritten.
CURTA_AVX512 static void deliver(const chunk *c, uint32_t n, uint32_t i, uint32_t tokens,
                                 __m512i *sums, const sink *to) {
  const curta_weight *w = c->w;
  const __mmask16 rows = to->rows;
  const size_t z_stride = to->z_stride;
  int32_t *const first = to->z + i * z_stride;
  if (to->upper) {
    for (uint32_t k = 0; k < tokens; k++) {
      int32_t *z = first + k * z_stride, *at = to->upper[i + k];
      __m512i upper = _mm512_srai_epi32(sums[k], 16);
      __m512i lower = _mm512_and_si512(sums[k], _mm512_set1_epi32(0xFFFF));
      if (!to->first) {
        upper = _mm512_add_epi32(upper, load512(at));
        lower = _mm512_add_epi32(lower, _mm512_maskz_loadu_epi32(rows, z));
      }
      if (to->last)
        lower = finish_wide(w, upper, lower, mantissas(w, n, rows));
      else
        store512(at, upper);
      _mm512_mask_storeu_epi32(z, rows, lower);
    }
    return;
  }
  if (to->last) {
    // Of the sums and of their complements that which is not negative.
    __m512i digits = _mm512_setzero_si512();
    for (uint32_t k = 0; k < tokens; k++)
      digits = _mm512_or_si512(digits, _mm512_xor_si512(sums[k], _mm512_srai_epi32(sums[k], 31)));
    const __m512i m = mantissas(w, n, rows);
    // A shift below 17 is 17 once the sum is shifted up, which is exact up to 2^(31 - up).
    const int32_t up = w->shift < 17 ? 17 - (int32_t)w->shift : 0;
    const __m128i more = _mm_cvtsi32_si128(up);
    const __m128i less17 = _mm_cvtsi32_si128((int32_t)w->shift + up - 17);
    const __m512i beyond = _mm512_set1_epi32((int32_t)(UINT32_MAX << (31 - up)));
    if (_mm512_test_epi32_mask(digits, beyond) == 0)
      for (uint32_t k = 0; k < tokens; k++)
        sums[k] = rescaled32(_mm512_sll_epi32(sums[k], more), m, less17);
    else
      for (uint32_t k = 0; k < tokens; k++)
        sums[k] = finish_wide(w, _mm512_srai_epi32(sums[k], 16),
                              _mm512_and_si512(sums[k], _mm512_set1_epi32(0xFFFF)), m);
  }
  for (uint32_t k = 0; k < tokens; k++)
    _mm512_mask_storeu_epi32(first + k * z_stride, rows, sums[k]);
}

/// A tile from the i-th token on of those that share the chunk; of its tokens so many are there.
CURTA_AVX512_INLINE void run_tile(const chunk *c, const packed_panel *panel, uint32_t n, uint32_t i,
                                  uint32_t panels, uint32_t tokens, uint32_t there,
                                  enum scaling scaling, const sink *to) {
  __m512i sums[2 * TILE];
  // Sums that fit int32 go on in registers from chunk to chunk.
  CURTA_UNROLL for (uint32_t k = 0; k < panels * tokens; k++) {
    const sink *of = to + k / tokens;
    const size_t at = (i + least(k % tokens, there - 1)) * of->z_stride;
    sums[k] = of->first || of->upper ? _mm512_setzero_si512()
                                     : _mm512_maskz_loadu_epi32(of->rows, of->z + at);
  }
  tile(c, panel, i, panels, tokens, scaling, sums);
  if (!to->last && !to->upper && there == tokens) {
    CURTA_UNROLL for (uint32_t k = 0; k < panels * tokens; k++) {
      const sink *of = to + k / tokens;
      _mm512_mask_storeu_epi32(of->z + (i + k % tokens) * of->z_stride, of->rows, sums[k]);
    }
    return;
  }
  __m512i copy[2 * TILE]; // what has an address is not kept in registers
  CURTA_UNROLL for (uint32_t k = 0; k < panels * tokens; k++) copy[k] = sums[k];
  deliver(c, n, i, there, copy, to);
  if (panels == 2)
    deliver(c, n + PANEL, i, there, copy + tokens, to + 1);
}

typedef void some_tokens(const chunk *c, const packed_panel *panel, uint32_t n, uint32_t i,
                         uint32_t there, const sink *to);

#define TILE_OF(name, panels, tokens, scaling)                                                     \
  CURTA_AVX512 static void name(const chunk *c, const packed_panel *panel, uint32_t n, uint32_t i, \
                                uint32_t there, const sink *to) {                                  \
    run_tile(c, panel, n, i, panels, tokens, there, scaling, to);                                  \
  }
// VPDPBUSD takes five cycles, two begin in each: fewer than ten tokens cost little less than ten,
// so that what twelves leave is one tile: 5 of 65, 197 and 257, 8 of 128.
TILE_OF(none_12, 1, 12, NONE)
TILE_OF(none_8, 1, 8, NONE)
TILE_OF(none_5, 1, 5, NONE)
TILE_OF(halves_12, 1, 12, HALVES)
TILE_OF(halves_8, 1, 8, HALVES)
TILE_OF(halves_5, 1, 5, HALVES)
TILE_OF(whole_12, 1, 12, WHOLE)
TILE_OF(whole_8, 1, 8, WHOLE)
TILE_OF(whole_5, 1, 5, WHOLE)
TILE_OF(none_2_12, 2, 12, NONE)
TILE_OF(none_2_5, 2, 5, NONE)
TILE_OF(halves_2_6, 2, 6, HALVES)
TILE_OF(whole_2_6, 2, 6, WHOLE)

/// The tile of two panels for so many tokens that are left, or as many of them as it takes.
static some_tokens *tile_of_two(enum scaling scaling, uint32_t *there) {
  if (scaling == NONE)
    return *there <= 5 ? none_2_5 : none_2_12;
  *there = least(*there, 6);
  return scaling == HALVES ? halves_2_6 : whole_2_6;
}

void curta_vnni_panels(const curta_weight *w, const curta_codes *x, uint32_t t0, uint32_t t1,
                       uint32_t n0, uint32_t n1, int32_t *z, size_t z_stride, int nibbles,
                       void *scratch) {
  const uint32_t blocks = (w->columns + 31) / 32;
  const int scaled = w->group_scales != 0;
  const uint32_t masked = w->mask_starts != 0; // then a panel stays in one strip
  const int narrow = !scaled || blocks <= (nibbles ? 256 : 16);
  const uint32_t together = narrow ? CURTA_PRODUCT_TOKENS : WIDE_TOKENS;
  // Sums wait in z for the next chunk, if there is one.
  const uint32_t several = SLAB / least(t1 - t0, SLAB / 512) & ~31u;
  // Chunks of the same size, but for the last one.
  const uint32_t most = scaled && !nibbles ? SCALED_CHUNK : CHUNK;
  const uint32_t chunks = (blocks + most - 1) / most;
  const uint32_t chunk_blocks = ((blocks + chunks - 1) / chunks + 1) & ~1u;
  const uint32_t slab_rows = !narrow ? WIDE_SLAB * PANEL : chunks == 1 ? n1 - n0 : several;
  static some_tokens *const tiles[3][3] = {
      {none_5, none_8, none_12}, {halves_5, halves_8, halves_12}, {whole_5, whole_8, whole_12}};
  const enum scaling scaling = !scaled ? NONE : nibbles ? HALVES : WHOLE;
  packed *room = scratch;
  packed_panel *panels = room->panels;
  chunk c;
  c.tiles = (packed_tile *)(void *)(room + 1);
  c.w = w;
  c.x = x;
  for (uint32_t slab = n0, slab_end; slab < n1; slab = slab_end) {
    slab_end = least(n1 - slab, slab_rows - (narrow ? 0 : slab % PANEL * masked)) + slab;
    for (uint32_t t = t0, tokens; t < t1; t += tokens) {
      tokens = least(t1 - t, together);
      for (uint32_t b = 0; b < blocks; b += chunk_blocks) {
        begin_chunk(&c, b, least(blocks - b, chunk_blocks), nibbles, t, tokens);
        for (uint32_t n = slab, rows, panel = 0; n < slab_end; n += rows, panel++) {
          const int two = narrow && !masked && slab_end - n > PANEL;
          rows = least(slab_end - n, two ? 2 * PANEL : PANEL - n % PANEL * masked);
          const uint32_t more = two ? rows - PANEL : 0;
          pack(&c, panels, nibbles, n, n + rows - more);
          if (two)
            pack(&c, panels + 1, nibbles, n + PANEL, n + rows);
          if (masked && !scaled)
            correct_strip(&c, tokens);
          sink to[2] = {
              {z + (size_t)t * z_stride + (n - n0), z_stride, narrow ? 0 : room->wide.uppers[panel],
               (__mmask16)((1u << (rows - more)) - 1), b == 0, b + chunk_blocks >= blocks}};
          to[1] = to[0];
          to[1].z += PANEL;
          to[1].rows = (__mmask16)((1u << more) - 1);
          for (uint32_t i = 0, there; i < tokens; i += there) {
            there = least(tokens - i, TILE);
            some_tokens *run =
                two ? tile_of_two(scaling, &there) : tiles[scaling][(there > 5) + (there > 8)];
            fetch_next(&c, two ? 2 * PANEL : PANEL, i, there, tokens);
            run(&c, panels, n, i, there, to);
          }
        }
      }
    }
  }
}

/// The way that suits the tensor and the number of tokens; offsets and odd groups are AVX2's.
static int fits(const curta_weight *w, uint32_t tokens, int nibbles) {
  if (w->group_offsets)
    return 0;
  return tokens >= 4 ? 1 : !w->mask_starts && curta_vnni_takes_rows(w, nibbles) ? 2 : 0;
}

void curta_product_nibbles__avx512vnni(const curta_weight *w, const curta_codes *x, uint32_t t0,
                                       uint32_t t1, uint32_t n0, uint32_t n1, int32_t *z,
                                       size_t z_stride, void *scratch) {
  const int way = fits(w, t1 - t0, 1);
  if (way == 0)
    curta_product_nibbles__avx2(w, x, t0, t1, n0, n1, z, z_stride, scratch);
  else if (way == 1)
    curta_vnni_panels(w, x, t0, t1, n0, n1, z, z_stride, 1, scratch);
  else
    curta_vnni_rows(w, x, t0, t1, n0, n1, z, z_stride, 1);
}

void curta_product_bytes__avx512vnni(const curta_weight *w, const curta_codes *x, uint32_t t0,
                                     uint32_t t1, uint32_t n0, uint32_t n1, int32_t *z,
                                     size_t z_stride, void *scratch) {
  const int way = fits(w, t1 - t0, 0);
  if (way == 0)
    curta_product_bytes__avx2(w, x, t0, t1, n0, n1, z, z_stride, scratch);
  else if (way == 1)
    curta_vnni_panels(w, x, t0, t1, n0, n1, z, z_stride, 0, scratch);
  else
    curta_vnni_rows(w, x, t0, t1, n0, n1, z, z_stride, 0);
}

#endif
