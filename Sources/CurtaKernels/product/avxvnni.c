// Products of grid tensors with AVX-VNNI, not AVX-512: tiles of 1 row by 1 token, of 2 by 4.
// SPDX-License-Identifier: Apache-2.0
//
// Proof that no lane overflows, for codes q within 127, scales s <= 255, chunks of 128 blocks:
//
// nibbles: u = c + 8 <= 15. A block adds abs <= 4 * 15 * 127 = 7620 to an int32 lane; a half has up
//   to 4 blocks of one group, abs <= 30480 < 2^15, so that VPACKSSDW is exact. VPDPWSSD by s adds
//   two halves' lanes: a chunk 128 * 7620 * 255 = 248 716 800 < 2^28. The correction is that of
//   avx2.c. Without scales a chunk adds at most 128 * 7620.
// bytes: u = c + 128, no scales. VPDPBUSD adds modulo 2^32; the lanes begin at -128 * (sum of q),
//   so that their sum is that of c * q, abs <= 127 * 127 * 4096 < 2^27. Panels (avx2_panels.h)
//   have u = q + 128 and begin at -128 * (sum of c) of each row.

#include "../kernels.h"
#include "tiled.h"

#if defined(__x86_64__)
#include "../avxvnni.h"
#include "avx2_panels.h"
#include "avx2_scaled.h"
#include "avx2_tile.h"

enum { MASKED_TOKENS = 24, DENSE_TOKENS = 64 }; // that pay for packing bytes

/// Where a tile's rows and tokens are.
typedef struct {
  const uint8_t *row[2], *scales[2];
  const int8_t *q[4];
  const uint16_t *places; // or NULL
} operands;

/// A block of nibbles as code + 8.
CURTA_AVXVNNI_INLINE __m256i nibbles_of(const uint8_t *block) {
  const __m256i down = _mm256_setr_epi32(0, 0, 0, 0, 4, 4, 4, 4);
  const __m256i both = _mm256_broadcastsi128_si256(load128(block));
  return _mm256_and_si256(_mm256_srlv_epi32(both, down), _mm256_set1_epi8(15));
}

/// Adds u * q of the blocks [b, b + count) to lanes.
CURTA_AVXVNNI_INLINE void add_blocks(const operands *o, uint32_t b, uint32_t count, int nibbles,
                                     uint32_t rows, uint32_t tokens, __m256i *lanes) {
  CURTA_UNROLL for (uint32_t j = 0; j < count; j++) {
    const size_t i = b + j, at = o->places ? o->places[i] : i;
    __m256i u[2];
    EACH_ROW u[r] = nibbles ? nibbles_of(o->row[r] + i * 16)
                            : _mm256_xor_si256(load256(o->row[r] + i * 32), _mm256_set1_epi8(-128));
    if (tokens == 1 && j % 2 == 0)
      fetch_ahead(o->row[0] + i * (nibbles ? 16 : 32));
    EACH_TOKEN {
      const __m256i x = load256(o->q[t] + at * 32);
      EACH_ROW {
        __m256i *lane = &lanes[r * tokens + t];
        *lane = _mm256_dpbusd_avx_epi32(*lane, u[r], x);
      }
    }
  }
}

/// Adds scale * u * q of two groups, of `step` blocks from b on, or of the first alone.
CURTA_AVXVNNI_INLINE void add_groups(const operands *o, uint32_t b, uint32_t g, uint32_t step,
                                     int both, uint32_t rows, uint32_t tokens, __m256i *lanes) {
  const __m256i order = _mm256_setr_epi64x(HALF(0), HALF(1), HALF(0), HALF(1));
  __m256i first[CURTA_TILE_SUMS], second[CURTA_TILE_SUMS], scale[2];
  EACH_ROW {
    const int32_t two = o->scales[r][g] | (both ? o->scales[r][g + 1] << 8 : 0);
    scale[r] = _mm256_shuffle_epi8(_mm256_set1_epi32(two), order);
    EACH_TOKEN first[r * tokens + t] = second[r * tokens + t] = _mm256_setzero_si256();
  }
  if (step == 1 && both) { // the same as below with fewer registers
    const size_t at = o->places ? o->places[b] : b, at1 = o->places ? o->places[b + 1] : b + 1;
    __m256i u[2], u1[2];
    EACH_ROW {
      u[r] = nibbles_of(o->row[r] + (size_t)b * 16);
      u1[r] = nibbles_of(o->row[r] + (size_t)b * 16 + 16);
    }
    EACH_TOKEN {
      const __m256i x = load256(o->q[t] + at * 32), x1 = load256(o->q[t] + at1 * 32);
      EACH_ROW {
        __m256i *lane = &lanes[r * tokens + t];
        const __m256i sum = _mm256_dpbusd_avx_epi32(_mm256_setzero_si256(), u[r], x);
        const __m256i sum1 = _mm256_dpbusd_avx_epi32(_mm256_setzero_si256(), u1[r], x1);
        *lane = _mm256_dpwssd_avx_epi32(*lane, _mm256_packs_epi32(sum, sum1), scale[r]);
      }
    }
    return;
  }
  add_blocks(o, b, step, 1, rows, tokens, first);
  if (both)
    add_blocks(o, b + step, step, 1, rows, tokens, second);
  EACH_ROW EACH_TOKEN {
    const uint32_t at = r * tokens + t;
    lanes[at] =
        _mm256_dpwssd_avx_epi32(lanes[at], _mm256_packs_epi32(first[at], second[at]), scale[r]);
  }
}

/// Tiles from row to row; where rows run out the last one is repeated. Constants: nibbles, rows,
/// tokens, whether some blocks are chosen, and `step`: the blocks of a group, or 8: no group
/// scales.
CURTA_AVXVNNI_INLINE void tiles(const curta_chunk *c, uint32_t n0, uint32_t n1, int64_t (*sums)[4],
                                int nibbles, uint32_t rows, uint32_t tokens, uint32_t step,
                                int some) {
  const curta_weight *w = c->w;
  operands o = {.places = some ? c->places : 0};
  EACH_TOKEN o.q[t] = c->q[t];
  for (uint32_t n = n0; n < n1; n += rows) {
    uint32_t at[2];
    __m256i lanes[CURTA_TILE_SUMS];
    EACH_ROW {
      at[r] = n + r < n1 ? n + r : n1 - 1;
      o.row[r] = (const uint8_t *)w->codes + (size_t)at[r] * w->row_bytes +
                 (size_t)c->first * (nibbles ? 16 : 32);
      if (step != 8)
        o.scales[r] = w->group_scales + (size_t)at[r] * w->groups + c->group;
      EACH_TOKEN lanes[r * tokens + t] =
          step == 8 ? _mm256_zextsi128_si256(_mm_cvtsi32_si128(c->corrections[t]))
                    : _mm256_setzero_si256();
    }
    uint32_t b = 0;
    if (step == 8) {
      for (; b + 2 <= c->blocks; b += 2)
        add_blocks(&o, b, 2, nibbles, rows, tokens, lanes);
      if (b < c->blocks)
        add_blocks(&o, b, 1, nibbles, rows, tokens, lanes);
    } else {
      uint32_t g = 0; // groups begin where chunks begin
      for (; b + 2 * step <= c->blocks; b += 2 * step, g += 2)
        add_groups(&o, b, g, step, 1, rows, tokens, lanes);
      if (b + step <= c->blocks) {
        add_groups(&o, b, g, step, 0, rows, tokens, lanes);
        b += step;
        g++;
      }
      for (; b < c->blocks; b++) // of the last group
        add_groups(&o, b, g, 1, 0, rows, tokens, lanes);
      subtract_bias(c, at, rows, tokens, 3, lanes);
    }
    EACH_ROW {
      if (tokens == 4 && n + r < n1)
        store256(sums[n - n0 + r], _mm256_cvtepi32_epi64(sums_of_four(&lanes[r * 4])));
      else if (n + r < n1)
        sums[n - n0 + r][0] = sum_of_i32(lanes[r]);
    }
  }
}

/// Tiles as a function: chooses among the constants.
#define NIBBLES(name, rows, tokens)                                                                \
  CURTA_AVXVNNI static void name(const curta_chunk *c, uint32_t n0, uint32_t n1,                   \
                                 int64_t(*sums)[4]) {                                              \
    const uint32_t step = !c->w->group_scales ? 8 : c->places ? 1 : c->w->group_blocks;            \
    if (step == 8 && c->places)                                                                    \
      tiles(c, n0, n1, sums, 1, rows, tokens, 8, 1);                                               \
    else if (step == 8)                                                                            \
      tiles(c, n0, n1, sums, 1, rows, tokens, 8, 0);                                               \
    else if (c->places)                                                                            \
      tiles(c, n0, n1, sums, 1, rows, tokens, 1, 1);                                               \
    else if (step == 1)                                                                            \
      tiles(c, n0, n1, sums, 1, rows, tokens, 1, 0);                                               \
    else if (step == 2)                                                                            \
      tiles(c, n0, n1, sums, 1, rows, tokens, 2, 0);                                               \
    else                                                                                           \
      tiles(c, n0, n1, sums, 1, rows, tokens, 4, 0);                                               \
  }
#define BYTES(name, rows, tokens)                                                                  \
  CURTA_AVXVNNI static void name(const curta_chunk *c, uint32_t n0, uint32_t n1,                   \
                                 int64_t(*sums)[4]) {                                              \
    if (c->places)                                                                                 \
      tiles(c, n0, n1, sums, 0, rows, tokens, 8, 1);                                               \
    else                                                                                           \
      tiles(c, n0, n1, sums, 0, rows, tokens, 8, 0);                                               \
  }
NIBBLES(nibbles_one, 1, 1)
NIBBLES(nibbles_four, 2, 4)
BYTES(bytes_one, 1, 1)
BYTES(bytes_four, 2, 4)

/// A step: codes of 16 rows.
CURTA_AVXVNNI static void pack_bytes(const uint8_t *const *row, size_t at, uint8_t *to,
                                     __m256i *begins) {
  CURTA_UNROLL for (int h = 0; h < 2; h++) {
    __m256i c[8], all = _mm256_setzero_si256();
    turn_rows(row + 8 * h, at, c);
    CURTA_UNROLL for (int j = 0; j < 8; j++) {
      store256(to + j * 64 + h * 32, c[j]);
      all = _mm256_dpbusd_avx_epi32(all, _mm256_set1_epi8(1), c[j]);
    }
    begins[h] = _mm256_sub_epi32(begins[h], _mm256_slli_epi32(all, 7));
  }
}

CURTA_AVXVNNI_INLINE void panel_tile(const curta_panel *p, const int8_t *const *q, uint32_t tokens,
                                     __m256i (*sums)[2]) {
  __m256i lanes[CURTA_PANEL_TILE][2];
  EACH_TOKEN CURTA_UNROLL for (int h = 0; h < 2; h++) lanes[t][h] = load256(p->begins + 8 * h);
  const uint8_t *codes = p->codes;
  for (uint32_t b = 0; b < p->blocks; b++) {
    const size_t at = (p->places ? p->places[b] : b) * (size_t)32;
    for (uint32_t k = 0; k < 32; k += 4, codes += 64) {
      const __m256i c[2] = {load256(codes), load256(codes + 32)};
      EACH_TOKEN {
        const __m256i u = _mm256_xor_si256(four_codes(q[t] + at + k), _mm256_set1_epi8(-128));
        CURTA_UNROLL for (int h = 0; h < 2; h++) lanes[t][h] =
            _mm256_dpbusd_avx_epi32(lanes[t][h], u, c[h]);
      }
    }
  }
  EACH_TOKEN CURTA_UNROLL for (int h = 0; h < 2; h++) sums[t][h] = lanes[t][h];
}

CURTA_AVXVNNI static void panel_one(const curta_panel *p, const int8_t *const *q,
                                    __m256i (*sums)[2]) {
  panel_tile(p, q, 1, sums);
}
CURTA_AVXVNNI static void panel_six(const curta_panel *p, const int8_t *const *q,
                                    __m256i (*sums)[2]) {
  panel_tile(p, q, 6, sums);
}

/// How many tokens pay for panels, which scale a block of 16 rows at once and have no sums across
/// lanes at their ends. Without scales tiles are as fast where rows are long.
static uint32_t enough_tokens(const curta_weight *w) {
  if (!w->group_scales)
    return w->mask_starts || w->columns <= 512 ? 64 : UINT32_MAX;
  return w->mask_starts || w->kind == CURTA_WEIGHT_SMALL ? 6 : w->group_blocks <= 2 ? 9 : 16;
}

static int panels_fit(const curta_weight *w, uint32_t tokens, uint32_t n0, uint32_t n1) {
  return tokens >= enough_tokens(w) && curta_avx2_scaled_fits(w, tokens, n0, n1);
}

/// One token is as fast with AVX2, and other groups of scales are left to it.
static int tiles_fit(const curta_weight *w, uint32_t tokens) {
  const uint32_t step = w->group_blocks;
  return tokens > 1 && (!w->group_scales || w->mask_starts || step == 1 || step == 2 || step == 4);
}

void curta_product_nibbles__avxvnni(const curta_weight *w, const curta_codes *x, uint32_t t0,
                                    uint32_t t1, uint32_t n0, uint32_t n1, int32_t *z,
                                    size_t z_stride, void *scratch) {
  static const curta_tiles set = {
      nibbles_one, nibbles_four, curta_avx2_offset_dot, CURTA_CHUNK_BLOCKS, 8, curta_avx2_finish};
  if (panels_fit(w, t1 - t0, n0, n1))
    curta_avx2_scaled(w, x, t0, t1, n0, n1, z, z_stride, &curta_avxvnni_scaled_ways, scratch);
  else if (tiles_fit(w, t1 - t0))
    curta_product_tiled(w, x, t0, t1, n0, n1, z, z_stride, &set);
  else
    curta_product_nibbles__avx2(w, x, t0, t1, n0, n1, z, z_stride, scratch);
}

void curta_product_bytes__avxvnni(const curta_weight *w, const curta_codes *x, uint32_t t0,
                                  uint32_t t1, uint32_t n0, uint32_t n1, int32_t *z,
                                  size_t z_stride, void *scratch) {
  static const curta_tiles set = {bytes_one,          bytes_four, curta_avx2_offset_dot,
                                  CURTA_CHUNK_BLOCKS, 128,        curta_avx2_finish};
  static const curta_panel_way panels = {panel_one, panel_six, 6, pack_bytes, 512};
  if (!w->group_scales && t1 - t0 >= (w->mask_starts ? MASKED_TOKENS : DENSE_TOKENS))
    curta_avx2_panels(w, x, t0, t1, n0, n1, z, z_stride, &panels, scratch);
  else if (!w->group_scales)
    curta_product_tiled(w, x, t0, t1, n0, n1, z, z_stride, &set);
  else if (panels_fit(w, t1 - t0, n0, n1))
    curta_avx2_scaled(w, x, t0, t1, n0, n1, z, z_stride, &curta_avxvnni_scaled_ways, scratch);
  else
    curta_product_bytes__avx2(w, x, t0, t1, n0, n1, z, z_stride, scratch);
}

#endif
