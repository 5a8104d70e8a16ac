// Products of grid tensors with AVX-512 VNNI for many tokens: two panels of 16 rows by 12 tokens,
// by 6 where sums meet scales. SPDX-License-Identifier: Apache-2.0
//
// A panel holds 16 rows of a chunk of columns as unsigned codes, code + bias, four columns of all
// rows after each other: a lane of VPDPBUSD is a row, an operand broadcast from memory has four
// codes of a token, which serves two panels: loads would bind one, as a masked tensor has. There
// four tokens come in one load and are spread by shuffles, which units do that have nothing else to
// do. Packing costs one pass over the weights for every CURTA_PRODUCT_TOKENS tokens.
//
// Proof that no lane overflows: VPDPBUSD adds modulo 2^32, and -bias * (sum of q) is what a group's
// lane begins at, or is added at the end without scales, so that it ends at the sum of c * q,
// abs <= 127 * 127 * 2^17 < 2^31. Nibbles with scales go block by block: abs <= 32 * 8 * 127 =
// 32512 < 2^15, so that VPDPWSSD of the low halves multiplies by the scale and adds. Over a chunk:
// 8 * 127 * 255 * 768 < 2^28 (nibbles) and 127 * 127 * 255 * 512 = 2 105 802 240 < 2^31 (bytes).
// Chunks add up in int32 where the whole row fits (`narrow`: of small codes and sixes 32 * 127 *
// 255 * 2048 = 2 122 383 360), else as lower 16 bits, 256 chunks of
// them below 2^24, and what is above.

#include "../kernels.h"
#include "vnni.h"

#if defined(__x86_64__)
#include "avx512vnni_sums.h"

/// How sums meet scales: not at all, those that fit int16, any.
enum scaling { NONE, HALVES, WHOLE };

/// The codes of four tokens, in each part of 128 bits.
CURTA_AVX512_INLINE __m512i four_tokens(const int32_t *q) {
  __m512i four = _mm512_broadcast_i32x4(load128(q));
  __asm__("" : "+v"(four)); // else compilers load each of them by itself
  return four;
}

/// One of them, t < 4.
CURTA_AVX512_INLINE __m512i one_of_four(__m512i four, uint32_t t) {
  switch (t) {
  case 0:
    return _mm512_shuffle_epi32(four, 0x00);
  case 1:
    return _mm512_shuffle_epi32(four, 0x55);
  case 2:
    return _mm512_shuffle_epi32(four, 0xAA);
  default:
    return _mm512_shuffle_epi32(four, 0xFF);
  }
}

/// Adds the chunk's products of `panels` panels with `tokens` tokens to sums[panel * tokens +
/// token]; what is not there is not looked at afterwards.
CURTA_AVX512_INLINE void tile(const chunk *c, const packed_panel *panel, uint32_t i,
                              uint32_t panels, uint32_t tokens, enum scaling scaling,
                              __m512i *sums) {
  const packed_tile *of = &c->tiles[i / TILE];
  const int32_t *first = of->q[0] + i % TILE;
  uint32_t b = 0;
  // Without scales the chunk is one part, whose blocks' corrections add up on the way.
  __m512i correction = _mm512_setzero_si512();
  const uint32_t parts = scaling == NONE ? 1 : c->parts;
  for (uint32_t g = 0; g < parts; g++) {
    __m512i lanes[2 * TILE];
    const uint32_t end = scaling == NONE ? c->survivors : c->ends[g];
    CURTA_UNROLL for (uint32_t k = 0; k < panels * tokens; k++) lanes[k] =
        scaling == NONE ? sums[k]
                        : spread32(&of->corrections.parts[i % TILE + k % tokens][c->starts[g]]);
    for (; b < end; b++) {
      const int32_t *q = first + (size_t)c->places[b] * (8 * TILE);
      if (scaling == NONE)
        correction = _mm512_add_epi32(
            correction,
            _mm512_maskz_loadu_epi32((1 << TILE) - 1, of->corrections.blocks[c->places[b]]));
      CURTA_UNROLL for (uint32_t j = 0; j < 8; j++) {
        __m512i u[2];
        CURTA_UNROLL for (uint32_t p = 0; p < panels; p++) u[p] =
            load512(panel[p].codes[8 * b + j]);
        // The same block of the next tile: gaps between blocks are too wide to be foreseen.
        if (panels == 1 && tokens == TILE && j < 6)
          __builtin_prefetch((const char *)q + sizeof(packed_tile) + 64 * j);
        const uint32_t shuffled = panels == 1 ? 4 : 0;
        const __m512i four = four_tokens(q + TILE * j);
        CURTA_UNROLL for (uint32_t t = 0; t < tokens; t++) {
          const __m512i own = t < shuffled ? one_of_four(four, t) : spread32(q + TILE * j + t);
          CURTA_UNROLL for (uint32_t p = 0; p < panels; p++) lanes[p * tokens + t] =
              _mm512_dpbusd_epi32(lanes[p * tokens + t], u[p], own);
        }
      }
    }
    const __m512i corrections[3] = {_mm512_shuffle_i32x4(correction, correction, 0x00),
                                    _mm512_shuffle_i32x4(correction, correction, 0x55),
                                    _mm512_shuffle_i32x4(correction, correction, 0xAA)};
    CURTA_UNROLL for (uint32_t k = 0; k < panels * tokens; k++) {
      const __m512i scale = load512(panel[k / tokens].scales[g]);
      if (scaling == HALVES)
        sums[k] = _mm512_dpwssd_epi32(sums[k], lanes[k], scale);
      else if (scaling == WHOLE)
        sums[k] = _mm512_add_epi32(sums[k], _mm512_mullo_epi32(lanes[k], scale));
      else
        sums[k] =
            _mm512_add_epi32(lanes[k], one_of_four(corrections[k % tokens / 4], k % tokens % 4));
    }
  }
}

/// A tile from the i-th token on of those that share the chunk; of its tokens so many are there.
CURTA_AVX512_INLINE void run_tile(const chunk *c, const packed_panel *panel, uint32_t i,
                                  uint32_t panels, uint32_t tokens, uint32_t there,
                                  enum scaling scaling, const sink *to) {
  __m512i sums[2 * TILE];
  const size_t z_stride = to->z_stride;
  int32_t *const z = to->z + i * z_stride;
  // Sums that fit int32 go on in registers from chunk to chunk.
  const int begins = to->first || to->upper;
  CURTA_UNROLL for (uint32_t k = 0; k < panels * tokens; k++) {
    const size_t at = least(k % tokens, there - 1) * z_stride + k / tokens * PANEL;
    sums[k] =
        begins ? _mm512_setzero_si512() : _mm512_maskz_loadu_epi32(to->rows[k / tokens], z + at);
  }
  tile(c, panel, i, panels, tokens, scaling, sums);
  if ((!to->last || to->fits) && !to->upper && there == tokens) {
    const __mmask16 rows[2] = {to->rows[0], to->rows[1]};
    if (to->last) {
      const rounding by[2] = {to->by[0], to->by[1]};
      CURTA_UNROLL for (uint32_t k = 0; k < panels * tokens; k++) sums[k] =
          rounded(&by[k / tokens], sums[k]);
    }
    CURTA_UNROLL for (uint32_t k = 0; k < panels * tokens; k++) _mm512_mask_storeu_epi32(
        z + k % tokens * z_stride + k / tokens * PANEL, rows[k / tokens], sums[k]);
    return;
  }
  __m512i copy[2 * TILE]; // what has an address is not kept in registers
  CURTA_UNROLL for (uint32_t k = 0; k < panels * tokens; k++) copy[k] = sums[k];
  for (uint32_t p = 0; p < panels; p++)
    deliver(c, p, i, there, copy + p * tokens, to);
}

typedef void some_tokens(const chunk *c, const packed_panel *panel, uint32_t i, uint32_t there,
                         const sink *to);

#define TILE_OF(name, panels, tokens, scaling)                                                     \
  CURTA_AVX512 static void name(const chunk *c, const packed_panel *panel, uint32_t i,             \
                                uint32_t there, const sink *to) {                                  \
    run_tile(c, panel, i, panels, tokens, there, scaling, to);                                     \
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
TILE_OF(halves_2_4, 2, 4, HALVES)
TILE_OF(halves_2_6, 2, 6, HALVES)
TILE_OF(whole_2_4, 2, 4, WHOLE)
TILE_OF(whole_2_6, 2, 6, WHOLE)

/// The tile of two panels for so many tokens that are left from the i-th on, or as many of them as
/// it takes. Sixes leave eight of 128, which two fours take.
static some_tokens *tile_of_two(enum scaling scaling, uint32_t i, uint32_t *there) {
  if (scaling == NONE)
    return *there <= 5 ? none_2_5 : none_2_12;
  const int four = *there <= 4 || (i % TILE == 0 && (*there == 7 || *there == 8));
  *there = least(*there, four ? 4 : 6);
  if (scaling == HALVES)
    return four ? halves_2_4 : halves_2_6;
  return four ? whole_2_4 : whole_2_6;
}

void curta_vnni_panels(const curta_weight *w, const curta_codes *x, uint32_t t0, uint32_t t1,
                       uint32_t n0, uint32_t n1, int32_t *z, size_t z_stride, void *scratch) {
  const uint32_t blocks = (w->columns + 31) / 32;
  const int nibbles = w->kind == CURTA_WEIGHT_NIBBLES;
  const int scaled = w->group_scales != 0;
  const uint32_t masked = w->mask_starts != 0; // then a panel stays in one strip
  const int narrow = !scaled || blocks <= (nibbles ? 256 : w->kind == CURTA_WEIGHT_BYTES ? 16 : 64);
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
  sink to;
  to.z_stride = z_stride;
  for (uint32_t slab = n0, slab_end; slab < n1; slab = slab_end) {
    slab_end = least(n1 - slab, slab_rows - (narrow ? 0 : slab % PANEL * masked)) + slab;
    for (uint32_t t = t0, tokens; t < t1; t += tokens) {
      tokens = least(t1 - t, together);
      for (uint32_t b = 0; b < blocks; b += chunk_blocks) {
        begin_chunk(&c, b, least(blocks - b, chunk_blocks), t, tokens);
        for (uint32_t n = slab, rows, panel = 0; n < slab_end; n += rows, panel++) {
          const int two = narrow && !masked && slab_end - n > PANEL;
          rows = least(slab_end - n, two ? 2 * PANEL : PANEL - n % PANEL * masked);
          const uint32_t more = two ? rows - PANEL : 0;
          pack(&c, panels, n, n + rows - more);
          if (two)
            pack(&c, panels + 1, n + PANEL, n + rows);
          if (n + rows == slab_end && b + chunk_blocks < blocks && !masked)
            next_chunk(&c, slab);
          begin_rows(&to, w, n, rows);
          to.z = z + (size_t)t * z_stride + (n - n0);
          to.upper = narrow ? 0 : room->wide.uppers[panel];
          to.first = b == 0;
          to.last = b + chunk_blocks >= blocks;
          for (uint32_t i = 0, there; i < tokens; i += there) {
            there = least(tokens - i, TILE);
            some_tokens *run =
                two ? tile_of_two(scaling, i, &there) : tiles[scaling][(there > 5) + (there > 8)];
            fetch_next(&c, two ? 2 * PANEL : PANEL, i, there, tokens);
            run(&c, panels, i, there, &to);
          }
        }
      }
    }
  }
}

/// The product by the way that suits the tensor and the number of tokens, or 0: offsets and odd
/// groups are AVX2's.
static int product(const curta_weight *w, const curta_codes *x, uint32_t t0, uint32_t t1,
                   uint32_t n0, uint32_t n1, int32_t *z, size_t z_stride, void *scratch) {
  if (w->group_offsets)
    return 0;
  if (t1 - t0 >= 4)
    curta_vnni_panels(w, x, t0, t1, n0, n1, z, z_stride, scratch);
  else if (!w->mask_starts && curta_vnni_takes_rows(w))
    curta_vnni_rows(w, x, t0, t1, n0, n1, z, z_stride);
  else
    return 0;
  return 1;
}

void curta_product_nibbles__avx512vnni(const curta_weight *w, const curta_codes *x, uint32_t t0,
                                       uint32_t t1, uint32_t n0, uint32_t n1, int32_t *z,
                                       size_t z_stride, void *scratch) {
  if (!product(w, x, t0, t1, n0, n1, z, z_stride, scratch))
    curta_product_nibbles__avx2(w, x, t0, t1, n0, n1, z, z_stride, scratch);
}

void curta_product_sixes__avx512vnni(const curta_weight *w, const curta_codes *x, uint32_t t0,
                                     uint32_t t1, uint32_t n0, uint32_t n1, int32_t *z,
                                     size_t z_stride, void *scratch) {
  if (!product(w, x, t0, t1, n0, n1, z, z_stride, scratch))
    curta_product_sixes__avx2(w, x, t0, t1, n0, n1, z, z_stride, scratch);
}

void curta_product_bytes__avx512vnni(const curta_weight *w, const curta_codes *x, uint32_t t0,
                                     uint32_t t1, uint32_t n0, uint32_t n1, int32_t *z,
                                     size_t z_stride, void *scratch) {
  if (!product(w, x, t0, t1, n0, n1, z, z_stride, scratch))
    curta_product_bytes__avx2(w, x, t0, t1, n0, n1, z, z_stride, scratch);
}

#endif
