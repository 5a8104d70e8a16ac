// The frame around the vector products: slabs of rows, tiles of tokens, chunks of columns.
// SPDX-License-Identifier: Apache-2.0
//
// A slab of weights stays in the second-level cache while all tokens pass, a chunk of the codes of
// four tokens in the first-level cache while the slab's rows pass. Where tokens or rows run out the
// last one is repeated and its result dropped. One token reads the weights once, from memory: its
// tile is a single row, because a processor fetches one long stream ahead better than several short
// ones (8 to 22 GB/s for nibbles on a Zen 4).

#include "tiled.h"
#include "../arithmetic.h"
#include "masked.h"
#include <string.h>

enum { SLAB_ROWS = 64 };

static uint32_t min(uint32_t a, uint32_t b) { return a < b ? a : b; }

/// Whether the tile of one token is taken.
static int has_one(const curta_tiles *tiles, uint32_t tokens) { return tokens == 1 && tiles->one; }

/// The blocks of group g that are in the chunk, from the chunk's first block on: [low, high).
static void group_range(const curta_chunk *c, uint32_t g, uint32_t *low, uint32_t *high) {
  const uint32_t from = g * c->w->group_blocks, to = from + c->w->group_blocks;
  *low = from > c->first ? from - c->first : 0;
  *high = g + 1 < c->w->groups ? min(to - c->first, c->blocks) : c->blocks;
}

/// Sum of the codes of the blocks [low, high) of the chunk.
static int32_t code_sum(const int16_t *block_sums, uint32_t low, uint32_t high) {
  int32_t sum = 0;
  for (uint32_t b = low; b < high; b++)
    sum += block_sums[b];
  return sum;
}

/// What tiles and offsets ask for: the sums of groups or of all codes.
static void fill_sums(curta_chunk *c, const curta_tiles *tiles, const int16_t *const *block_sums,
                      uint32_t tokens, int summed) {
  if (!c->w->group_scales)
    for (uint32_t t = 0; t < tokens; t++)
      c->corrections[t] = tiles->bias ? -tiles->bias * code_sum(block_sums[t], 0, c->blocks) : 0;
  if (!summed || (tiles->bias == 0 && !c->w->group_offsets))
    return;
  const uint32_t up = (c->groups + 15) / 16 * 16;
  for (uint32_t t = 0; t < tokens; t++) {
    memset(c->sums[t] + c->groups, 0, (up - c->groups) * sizeof *c->sums[t]);
    if (c->groups == c->blocks) { // a block each
      memcpy(c->sums[t], block_sums[t], c->groups * sizeof *c->sums[t]);
      continue;
    }
    for (uint32_t i = 0; i < c->groups; i++) {
      uint32_t low, high;
      group_range(c, c->group + i, &low, &high);
      c->sums[t][i] = (int16_t)code_sum(block_sums[t], low, high); // abs <= 8 * 4064
    }
  }
}

/// What the tile left out for row n and a token: offsets, and the bias of long groups.
static int64_t left_out(const curta_chunk *c, const curta_tiles *tiles, uint32_t n,
                        const int16_t *block_sums, const int16_t *sums, int summed) {
  const curta_weight *w = c->w;
  const size_t at = (size_t)n * w->groups + c->group;
  if (summed)
    return tiles->offset_dot(w->group_offsets + at, sums, c->groups);
  int64_t total = 0;
  for (uint32_t i = 0; i < c->groups; i++) {
    uint32_t low, high;
    group_range(c, c->group + i, &low, &high);
    const int32_t scale = w->group_scales ? w->group_scales[at + i] : 1;
    const int32_t offset = w->group_offsets ? w->group_offsets[at + i] : 0;
    total += (int64_t)(offset - tiles->bias * scale) * code_sum(block_sums, low, high);
  }
  return total;
}

/// The sums of the rows n0 ... n1-1 of a chunk for `tokens` tokens.
static void run_chunk(const curta_chunk *c, const curta_tiles *tiles, uint32_t n0, uint32_t n1,
                      const int16_t *const *block_sums, uint32_t tokens, int summed,
                      int64_t (*sums)[4]) {
  const curta_weight *w = c->w;
  (has_one(tiles, tokens) ? tiles->one : tiles->four)(c, n0, n1, sums);
  if (!w->group_offsets && (summed || tiles->bias == 0 || !w->group_scales))
    return;
  for (uint32_t n = n0; n < n1; n++)
    for (uint32_t t = 0; t < tokens; t++)
      sums[n - n0][t] += left_out(c, tiles, n, block_sums[t], c->sums[t], summed);
}

/// The sums of a slab of rows over all chunks.
typedef struct {
  int64_t sums[SLAB_ROWS + 1][4]; // of the first chunk, then of all
  int64_t more[SLAB_ROWS + 1][4]; // of one chunk
} slab_sums;

static void add_sums(slab_sums *s, uint32_t rows, uint32_t tokens) {
  for (uint32_t n = 0; n < rows; n++)
    for (uint32_t t = 0; t < tokens; t++)
      s->sums[n][t] += s->more[n][t];
}

static void finish(const curta_weight *w, uint32_t n0, uint32_t n1, uint32_t tokens,
                   const curta_tiles *tiles, const int64_t (*sums)[4], int32_t *z,
                   size_t z_stride) {
  if (tokens == 4 && tiles->finish) {
    tiles->finish(w, n0, n1, sums, z, z_stride);
    return;
  }
  for (uint32_t n = n0; n < n1; n++)
    for (uint32_t t = 0; t < tokens; t++)
      z[t * z_stride + n - n0] = (int32_t)curta_round(sums[n - n0][t] * w->mantissas[n], w->shift);
}

/// The surviving blocks from block `first` of them on.
static void choose_blocks(curta_chunk *c, uint32_t first, uint32_t blocks,
                          const uint16_t *survivors) {
  c->first = first;
  c->blocks = blocks;
  c->places = survivors + first;
  c->group = c->w->groups > 1 ? first : 0;
  c->groups = c->w->groups > 1 ? blocks : 1;
}

/// The product with a masked tensor: a strip is the slab, and the tiles see a dense tensor of
/// fewer columns. A strip is little work for four tokens, so that the chunk is set up once for all
/// of them where there is only one, and sums are gathered only where they are asked for.
static void product_masked(const curta_weight *w, const curta_codes *x, uint32_t t0, uint32_t t1,
                           uint32_t n0, uint32_t n1, int32_t *z, size_t z_stride,
                           const curta_tiles *tiles) {
  const int asked = tiles->bias != 0 || w->group_offsets;
  slab_sums s;
  int16_t gathered[4][CURTA_CHUNK_BLOCKS];
  const int16_t *block_sums[4] = {gathered[0], gathered[1], gathered[2], gathered[3]};
  curta_chunk c;
  memset(c.corrections, 0, sizeof c.corrections);
  for (uint32_t n = n0, end; n < n1; n = end) {
    const uint32_t strip = n / CURTA_STRIP_ROWS, top = strip * CURTA_STRIP_ROWS;
    end = min(n1 - top, CURTA_STRIP_ROWS) + top;
    const curta_weight dense = curta_strip(w, strip);
    const uint16_t *survivors = w->mask_blocks + w->mask_starts[strip];
    const uint32_t blocks = dense.columns / 32;
    const int summed = dense.group_scales != 0;
    c.w = &dense;
    choose_blocks(&c, 0, min(blocks, tiles->blocks), survivors);
    if (blocks == 0)
      memset(s.sums, 0, sizeof s.sums);
    for (uint32_t t = t0, tokens; t < t1; t += tokens) {
      tokens = min(t1 - t, 4);
      for (uint32_t i = 0; i < 4; i++)
        c.q[i] = x->codes + (size_t)(t + min(i, tokens - 1)) * x->stride;
      for (uint32_t b = 0; b < blocks; b += tiles->blocks) {
        if (blocks > tiles->blocks)
          choose_blocks(&c, b, min(blocks - b, tiles->blocks), survivors);
        if (asked) {
          for (uint32_t i = 0; i < 4; i++)
            curta_gather(gathered[i], x->sums + (size_t)(t + min(i, tokens - 1)) * (x->stride / 32),
                         c.places, c.blocks);
          fill_sums(&c, tiles, block_sums, has_one(tiles, tokens) ? 1 : 4, summed);
        }
        run_chunk(&c, tiles, n - top, end - top, block_sums, tokens, summed, b ? s.more : s.sums);
        if (b)
          add_sums(&s, end - n, tokens);
      }
      finish(&dense, n - top, end - top, tokens, tiles, s.sums, z + t * z_stride + n - n0,
             z_stride);
    }
  }
}

void curta_product_tiled(const curta_weight *w, const curta_codes *x, uint32_t t0, uint32_t t1,
                         uint32_t n0, uint32_t n1, int32_t *z, size_t z_stride,
                         const curta_tiles *tiles) {
  if (w->mask_starts) {
    product_masked(w, x, t0, t1, n0, n1, z, z_stride, tiles);
    return;
  }
  const uint32_t blocks = (w->columns + 31) / 32;
  const int summed = w->group_scales && w->group_blocks <= CURTA_SUMMED_BLOCKS;
  slab_sums s;
  for (uint32_t slab = n0; slab < n1; slab = min(slab + SLAB_ROWS, n1)) {
    const uint32_t slab_end = min(n1 - slab, SLAB_ROWS) + slab;
    for (uint32_t t = t0, tokens; t < t1; t += tokens) {
      tokens = min(t1 - t, 4);
      for (uint32_t b = 0; b < blocks; b += tiles->blocks) {
        curta_chunk c;
        c.w = w;
        c.places = 0;
        c.first = b;
        c.blocks = min(blocks - b, tiles->blocks);
        c.group = w->groups > 1 ? b / w->group_blocks : 0;
        c.groups = w->groups > 1 ? (b + c.blocks - 1) / w->group_blocks - c.group + 1 : 1;
        const int16_t *block_sums[4];
        for (uint32_t i = 0; i < 4; i++) {
          const size_t token = t + min(i, tokens - 1);
          c.q[i] = x->codes + token * x->stride + (size_t)b * 32;
          block_sums[i] = x->sums + token * (x->stride / 32) + b;
        }
        fill_sums(&c, tiles, block_sums, has_one(tiles, tokens) ? 1 : 4, summed);
        run_chunk(&c, tiles, slab, slab_end, block_sums, tokens, summed, b ? s.more : s.sums);
        if (b)
          add_sums(&s, slab_end - slab, tokens);
      }
      finish(w, slab, slab_end, tokens, tiles, s.sums, z + t * z_stride + slab - n0, z_stride);
    }
  }
}

void curta_product_wide_rows(const curta_weight *w, const curta_codes *x, uint32_t t0, uint32_t t1,
                             uint32_t n0, uint32_t n1, int32_t *z, size_t z_stride,
                             int64_t (*dot)(const int16_t *c, const int8_t *q, uint32_t columns)) {
  for (uint32_t n = n0; n < n1; n++) {
    const void *row = (const uint8_t *)w->codes + (size_t)n * w->row_bytes;
    for (uint32_t t = t0; t < t1; t++) {
      const int64_t sum = dot((const int16_t *)row, x->codes + (size_t)t * x->stride, w->columns);
      z[t * z_stride + n - n0] = (int32_t)curta_round(sum * w->mantissas[n], w->shift);
    }
  }
}
