// Products with SMMLA, the matrix instruction of ARMv8.6: panels of 8 rows by 8 tokens.
// SPDX-License-Identifier: Apache-2.0
//
// SMMLA multiplies two rows of 8 codes by two tokens of 8 codes. A panel holds 8 rows of a chunk of
// columns, two rows side by side for every 8 columns, and a tile so 8 tokens. Packing costs one
// pass over the weights for every CURTA_PRODUCT_TOKENS tokens.
//
// Proof that no lane overflows: without scales a lane is a sum of c * q, abs <= 127 * 127 * 2^17 <
// 2^31. With them nibbles are up to 8 * 127 * 255 * 8192 = 2 122 383 360 < 2^31, bytes 127 * 127 *
// 255 * 512 = 2 105 802 240, sixes as nibbles up to 2048 columns; longer rows are SDOT's.

#include "../kernels.h"
#include "tiled.h"

#if defined(__aarch64__)
#define CURTA_NEON_MMLA
#include "../neon.h"

enum {
  PANEL = 8,  // rows
  CHUNK = 16, // blocks of 32 columns
  TILE = 8,   // tokens
  SLAB = 256, // rows whose sums wait in the cache for the next chunk
};

/// Weights in the caller's memory, tiles after it.
typedef struct {
  int8_t rows[CHUNK * 4][PANEL / 2][16]; // [8 columns][pair of rows][row][8]
  int32_t scales[CHUNK][PANEL / 2][4];   // [part][pair of rows]: of both, twice
} packed_panel;

typedef struct {
  int8_t q[CHUNK * 4][TILE / 2][16]; // [8 columns][pair of tokens][token][8]
} packed_tile;

_Static_assert(sizeof(packed_panel) + CURTA_PRODUCT_TOKENS / TILE * sizeof(packed_tile) <=
                       CURTA_PRODUCT_SCRATCH(CURTA_PRODUCT_TOKENS) &&
                   sizeof(packed_panel) + sizeof(packed_tile) <= CURTA_PRODUCT_SCRATCH(1) &&
                   sizeof(packed_tile) / TILE * 12 <=
                       CURTA_PRODUCT_SCRATCH(24) - CURTA_PRODUCT_SCRATCH(12),
               "room for what is packed");

/// A chunk of columns for the tokens and panels of a slab.
typedef struct {
  const curta_weight *w;
  uint32_t first;  // block
  uint32_t blocks; // 1 ... CHUNK
  // Parts of one scale, or one of all blocks.
  uint32_t parts;
  uint32_t ends[CHUNK];   // in blocks of the panel
  uint32_t groups[CHUNK]; // that each part is in, counted as pack_rows points to a row's scales
  uint32_t places[CHUNK]; // of the panel's blocks, from the chunk's first on
  packed_panel *panel;
  packed_tile *tiles;
} chunk;

static uint32_t least(uint32_t a, uint32_t b) { return a < b ? a : b; }

/// All blocks of the chunk, in parts by group.
static void choose_all(chunk *c) {
  const curta_weight *w = c->w;
  c->parts = 0;
  for (uint32_t b = 0; b < c->blocks; b++) {
    const uint32_t group =
        w->groups > 1 ? least((c->first + b) / w->group_blocks, w->groups - 1) : 0;
    if (c->parts == 0 || c->groups[c->parts - 1] != group)
      c->groups[c->parts++] = group;
    c->ends[c->parts - 1] = b + 1;
    c->places[b] = b;
  }
}

/// The blocks of the chunk that survive in a strip, each a part where there are scales; returns how
/// many of the strip's are before it.
static uint32_t choose_survivors(chunk *c, uint32_t strip) {
  const curta_weight *w = c->w;
  const uint16_t *blocks = w->mask_blocks + w->mask_starts[strip];
  const uint32_t survivors = w->mask_starts[strip + 1] - w->mask_starts[strip];
  uint32_t before = 0, b = 0;
  while (before < survivors && blocks[before] < c->first)
    before++;
  c->parts = 0;
  for (; before + b < survivors && blocks[before + b] < c->first + c->blocks; b++) {
    c->places[b] = blocks[before + b] - c->first;
    if (b == 0 || w->group_scales)
      c->groups[c->parts++] = b;
    c->ends[c->parts - 1] = b + 1;
  }
  return before;
}

/// The eight columns from the first of 16 on, then the other eight, of two rows or tokens.
CURTA_NEON_INLINE int8x16_t first_half(int8x16_t a, int8x16_t b) {
  return vreinterpretq_s8_s64(vzip1q_s64(vreinterpretq_s64_s8(a), vreinterpretq_s64_s8(b)));
}
CURTA_NEON_INLINE int8x16_t second_half(int8x16_t a, int8x16_t b) {
  return vreinterpretq_s8_s64(vzip2q_s64(vreinterpretq_s64_s8(a), vreinterpretq_s64_s8(b)));
}

/// Packs `count` tokens from t on; of the last tile the last one is repeated.
CURTA_NEON static void pack_tokens(const chunk *c, const curta_codes *x, uint32_t t,
                                   uint32_t count) {
  for (uint32_t i = 0; i < count; i += 2) {
    const int8_t *a = x->codes + (size_t)(t + i) * x->stride + (size_t)c->first * 32;
    const int8_t *b = i + 1 < count ? a + x->stride : a;
    int8_t(*out)[TILE / 2][16] = c->tiles[i / TILE].q;
    for (uint32_t at = 0; at < c->blocks * 2; at++) {
      const int8x16_t p = vld1q_s8(a + 16 * at), q = vld1q_s8(b + 16 * at);
      vst1q_s8(out[2 * at][i % TILE / 2], first_half(p, q));
      vst1q_s8(out[2 * at + 1][i % TILE / 2], second_half(p, q));
    }
  }
  for (uint32_t i = (count + 1) & ~1u; i % TILE != 0; i += 2)
    for (uint32_t at = 0; at < c->blocks * 4; at++) {
      int8_t(*pairs)[16] = c->tiles[i / TILE].q[at];
      vst1q_s8(pairs[i % TILE / 2], vld1q_s8(pairs[i % TILE / 2 - 1]));
    }
}

/// Packs the chunk of 8 rows from n on; past `end` the last row is repeated.
CURTA_NEON static void pack_rows(chunk *c, uint32_t n, uint32_t end) {
  const curta_weight *w = c->w;
  const size_t block_bytes = curta_block_bytes(w->kind);
  size_t strip_row = 0, row_blocks = 0, before = 0;
  if (w->mask_starts) {
    const uint32_t strip = n / CURTA_STRIP_ROWS;
    strip_row = (size_t)strip * CURTA_STRIP_ROWS;
    row_blocks = w->mask_starts[strip + 1] - w->mask_starts[strip];
    before = w->mask_starts[strip] * (size_t)CURTA_STRIP_ROWS + choose_survivors(c, strip);
  }
  const uint8_t *row[PANEL], *scales[PANEL];
  for (uint32_t r = 0; r < PANEL; r++) {
    const size_t at = least(n + r, end - 1);
    if (w->mask_starts) {
      const size_t block = before + (at - strip_row) * row_blocks;
      row[r] = (const uint8_t *)w->codes + block * block_bytes;
      scales[r] = w->group_scales ? w->group_scales + block : 0;
    } else {
      row[r] = (const uint8_t *)w->codes + at * w->row_bytes + c->first * block_bytes;
      scales[r] = w->group_scales ? w->group_scales + at * w->groups : 0;
    }
  }
  const uint32_t blocks = c->parts ? c->ends[c->parts - 1] : 0;
  for (uint32_t b = 0; b < blocks; b++)
    for (uint32_t r = 0; r < PANEL; r += 2) {
      int8x16x2_t x[2];
      CURTA_UNROLL for (uint32_t i = 0; i < 2; i++) {
        if (w->kind == CURTA_WEIGHT_NIBBLES) {
          x[i] = unpacked(row[r + i] + b * 16);
        } else if (w->kind == CURTA_WEIGHT_SIXES) {
          x[i] = unpacked_sixes(row[r + i] + b * 24);
        } else {
          x[i].val[0] = vreinterpretq_s8_u8(vld1q_u8(row[r + i] + b * 32));
          x[i].val[1] = vreinterpretq_s8_u8(vld1q_u8(row[r + i] + b * 32 + 16));
        }
      }
      CURTA_UNROLL for (uint32_t half = 0; half < 2; half++) {
        int8_t(*out)[PANEL / 2][16] = c->panel->rows + 4 * b + 2 * half;
        vst1q_s8(out[0][r / 2], first_half(x[0].val[half], x[1].val[half]));
        vst1q_s8(out[1][r / 2], second_half(x[0].val[half], x[1].val[half]));
      }
    }
  if (w->group_scales)
    for (uint32_t g = 0; g < c->parts; g++)
      for (uint32_t r = 0; r < PANEL; r++) {
        int32_t *to = c->panel->scales[g][r / 2] + r % 2 * 2;
        to[0] = to[1] = scales[r][c->groups[g]];
      }
}

/// The sums of the panel with `pairs` pairs of a tile's tokens from `first` on, sums[pair of
/// rows][pair of tokens] of 2 by 2; `pairs` and `scaled` are constants.
CURTA_NEON_INLINE void tile(const chunk *c, const packed_tile *of, uint32_t first, uint32_t pairs,
                            int scaled, int32x4_t *sums) {
  enum { ROWS = PANEL / 2 };
  const int8_t *rows = c->panel->rows[0][0];
  CURTA_UNROLL for (uint32_t i = 0; i < ROWS * pairs; i++) sums[i] = vdupq_n_s32(0);
  uint32_t b = 0;
  for (uint32_t g = 0; g < c->parts; g++) {
    int32x4_t dots[16];
    CURTA_UNROLL for (uint32_t i = 0; i < ROWS * pairs; i++) dots[i] =
        scaled ? vdupq_n_s32(0) : sums[i];
    for (const uint32_t end = c->ends[g]; b < end; b++) {
      const int8_t *q = of->q[c->places[b] * 4][first];
      for (uint32_t at = 0; at < 4; at++, rows += PANEL * 8, q += TILE * 8) {
        int8x16_t u[ROWS];
        CURTA_UNROLL for (uint32_t r = 0; r < ROWS; r++) u[r] = vld1q_s8(rows + 16 * r);
        CURTA_UNROLL for (uint32_t p = 0; p < pairs; p++) {
          const int8x16_t x = vld1q_s8(q + 16 * p);
          CURTA_UNROLL for (uint32_t r = 0; r < ROWS; r++) dots[r * pairs + p] =
              vmmlaq_s32(dots[r * pairs + p], u[r], x);
        }
      }
    }
    CURTA_UNROLL for (uint32_t r = 0; r < ROWS; r++) {
      const int32x4_t scale = scaled ? vld1q_s32(c->panel->scales[g][r]) : vdupq_n_s32(0);
      CURTA_UNROLL for (uint32_t p = 0; p < pairs; p++) {
        const uint32_t i = r * pairs + p;
        sums[i] = scaled ? vmlaq_s32(sums[i], dots[i], scale) : dots[i];
      }
    }
  }
}

/// round(sum * m, shift) of four rows; count is -shift.
CURTA_NEON_INLINE int32x4_t finished(int32x4_t sum, const uint16_t *m, int64x2_t count) {
  const int32x4_t factor = vreinterpretq_s32_u32(vmovl_u16(vld1_u16(m)));
  const int64x2_t low = vmull_s32(vget_low_s32(sum), vget_low_s32(factor));
  const int64x2_t high = vmull_high_s32(sum, factor);
  return vmovn_high_s64(vmovn_s64(vrshlq_s64(low, count)), vrshlq_s64(high, count));
}

/// Where the sums of a panel go: into z while chunks are added.
typedef struct {
  int32_t *z; // of the panel's first row and the first token
  size_t z_stride;
  uint16_t mantissas[PANEL];
  uint32_t rows;
  int first, last; // chunk
} sink;

CURTA_NEON_INLINE void deliver_token(const chunk *c, int32x4_t low, int32x4_t high, uint32_t t,
                                     const sink *to) {
  const int64x2_t count = vdupq_n_s64(-(int64_t)c->w->shift);
  int32_t copy[PANEL], *z = to->z + t * to->z_stride, *at = to->rows == PANEL ? z : copy;
  if (!to->first) {
    if (at == copy)
      for (uint32_t r = 0; r < PANEL; r++)
        copy[r] = r < to->rows ? z[r] : 0;
    low = vaddq_s32(low, vld1q_s32(at));
    high = vaddq_s32(high, vld1q_s32(at + 4));
  }
  if (to->last) {
    low = finished(low, to->mantissas, count);
    high = finished(high, to->mantissas + 4, count);
  }
  vst1q_s32(at, low);
  vst1q_s32(at + 4, high);
  if (at == copy)
    for (uint32_t r = 0; r < to->rows; r++)
      z[r] = copy[r];
}

/// The tokens from t on, of which `there` are there.
CURTA_NEON_INLINE void run_tile(const chunk *c, uint32_t t, uint32_t pairs, uint32_t there,
                                int scaled, const sink *to) {
  int32x4_t sums[16];
  tile(c, c->tiles + t / TILE, t % TILE / 2, pairs, scaled, sums);
  CURTA_UNROLL for (uint32_t p = 0; p < pairs; p++) {
    const int32x4_t a = sums[p], b = sums[pairs + p], d = sums[2 * pairs + p];
    const int32x4_t e = sums[3 * pairs + p];
    if (2 * p < there)
      deliver_token(c, vuzp1q_s32(a, b), vuzp1q_s32(d, e), t + 2 * p, to);
    if (2 * p + 1 < there)
      deliver_token(c, vuzp2q_s32(a, b), vuzp2q_s32(d, e), t + 2 * p + 1, to);
  }
}

/// Tiles as functions of their own, for Tools/loop-costs to tell them apart. With scales there are
/// registers for half as many tokens.
typedef void some_tokens(const chunk *c, uint32_t t, uint32_t there, const sink *to);
CURTA_NEON static void plain_eight(const chunk *c, uint32_t t, uint32_t there, const sink *to) {
  run_tile(c, t, 4, there, 0, to);
}
CURTA_NEON static void scaled_four(const chunk *c, uint32_t t, uint32_t there, const sink *to) {
  run_tile(c, t, 2, there, 1, to);
}

/// The product of a grid tensor without offsets, for many tokens.
static void product_panels(const curta_weight *w, const curta_codes *x, uint32_t t0, uint32_t t1,
                           uint32_t n0, uint32_t n1, int32_t *z, size_t z_stride, void *scratch) {
  const uint32_t blocks = (w->columns + 31) / 32, masked = w->mask_starts != 0;
  const uint32_t slab_rows = blocks <= CHUNK ? n1 - n0 : SLAB;
  const uint32_t step = w->group_scales ? TILE / 2 : TILE;
  some_tokens *const run = w->group_scales ? scaled_four : plain_eight;
  chunk c;
  c.w = w;
  c.panel = scratch;
  c.tiles = (packed_tile *)(void *)(c.panel + 1);
  for (uint32_t slab = n0, slab_end; slab < n1; slab = slab_end) {
    slab_end = least(n1 - slab, slab_rows) + slab;
    for (uint32_t t = t0, tokens; t < t1; t += tokens) {
      tokens = least(t1 - t, CURTA_PRODUCT_TOKENS);
      for (uint32_t b = 0; b < blocks; b += CHUNK) {
        c.first = b;
        c.blocks = least(blocks - b, CHUNK);
        pack_tokens(&c, x, t, tokens);
        if (!masked)
          choose_all(&c);
        for (uint32_t n = slab, rows; n < slab_end; n += rows) {
          rows = least(slab_end - n, PANEL - n % PANEL * masked); // a panel stays in one strip
          pack_rows(&c, n, n + rows);
          sink to = {z + (size_t)t * z_stride + (n - n0),
                     z_stride,
                     {0},
                     rows,
                     b == 0,
                     b + CHUNK >= blocks};
          for (uint32_t r = 0; r < rows; r++)
            to.mantissas[r] = w->mantissas[n + r];
          for (uint32_t i = 0; i < tokens; i += step)
            run(&c, i, least(tokens - i, step), &to);
        }
      }
    }
  }
}

/// Few tokens do not pay for the packing.
static int fits(const curta_weight *w, uint32_t tokens, uint32_t most_columns) {
  return tokens >= 4 && !w->group_offsets && (!w->group_scales || w->columns <= most_columns);
}

void curta_product_nibbles__neon_i8mm(const curta_weight *w, const curta_codes *x, uint32_t t0,
                                      uint32_t t1, uint32_t n0, uint32_t n1, int32_t *z,
                                      size_t z_stride, void *scratch) {
  if (fits(w, t1 - t0, 8192))
    product_panels(w, x, t0, t1, n0, n1, z, z_stride, scratch);
  else
    curta_product_nibbles__neon_dotprod(w, x, t0, t1, n0, n1, z, z_stride, scratch);
}

void curta_product_sixes__neon_i8mm(const curta_weight *w, const curta_codes *x, uint32_t t0,
                                    uint32_t t1, uint32_t n0, uint32_t n1, int32_t *z,
                                    size_t z_stride, void *scratch) {
  if (fits(w, t1 - t0, 2048))
    product_panels(w, x, t0, t1, n0, n1, z, z_stride, scratch);
  else
    curta_product_sixes__neon_dotprod(w, x, t0, t1, n0, n1, z, z_stride, scratch);
}

void curta_product_bytes__neon_i8mm(const curta_weight *w, const curta_codes *x, uint32_t t0,
                                    uint32_t t1, uint32_t n0, uint32_t n1, int32_t *z,
                                    size_t z_stride, void *scratch) {
  if (fits(w, t1 - t0, 512))
    product_panels(w, x, t0, t1, n0, n1, z, z_stride, scratch);
  else
    curta_product_bytes__neon_dotprod(w, x, t0, t1, n0, n1, z, z_stride, scratch);
}

#endif
