// Products with SDOT for many tokens: panels of 8 rows by tiles of 8 tokens.
// SPDX-License-Identifier: Apache-2.0
//
// SDOT by element multiplies four columns of four rows by the same four codes of a token, so that a
// lane is a row: nothing is summed across lanes, and 16 loads are enough for 64 SDOT. The panels of
// a slab lie one after the other in the second-level cache, and pass by a tile of tokens in the
// first-level cache. Packing takes what a tile of 4 tokens takes and is paid once for all tokens.
//
// With scales s and dots d of blocks, sum of s[b] * d[b] = sum of (s[b] - s[b + 1]) * (d[0] + ... +
// d[b]): the lanes of dots are never cleared.
//
// Proof that no int32 lane overflows: lanes are modulo 2^32 and end at the sum of a chunk. Without
// scales abs <= 127 * 127 * 2^17 < 2^31. With them nibbles and small codes are at most 32 * 127 *
// 255 * 2048 = 2 122 383 360 < 2^31, bytes 127 * 127 * 255 * 512 = 2 105 802 240.

#include "../kernels.h"

#if defined(__aarch64__)
#define CURTA_NEON_SDOT
#include "neon_panels.h"
#include "neon_panels_pack.h"

/// Tokens of a tile, and where their results go.
typedef struct {
  const int8_t *q[TILE];
  uint32_t first; // of all tokens
  uint32_t shift;
  int32_t *z; // of the first token
  size_t z_stride;
} some_tokens;

// MARK: - Tiles

#define EACH_TOKEN CURTA_UNROLL for (uint32_t t = 0; t < tokens; t++)

/// Sums of a tile: one token has two sets, so that an addition need not wait for the one before.
#define EACH_SET CURTA_UNROLL for (uint32_t s = 0; s < sets; s++)

/// Keeps what is written before it and after it apart; a and b are ready before it.
#define IN_ORDER(a, b) __asm__ volatile("" : "+w"(a), "+w"(b)::"memory")

/// Adds four columns, codes c[at] and c[2 + at], to the sums of token t: lane k of x.
#define ADD(c, at, k)                                                                              \
  do {                                                                                             \
    int32x4_t *const to = dots[tokens == 1 ? at : t];                                              \
    to[0] = vdotq_laneq_s32(to[0], c[at], x[t], k);                                                \
    to[1] = vdotq_laneq_s32(to[1], c[2 + at], x[t], k);                                            \
    IN_ORDER(to[0], to[1]);                                                                        \
  } while (0)

/// Loads 8 columns.
CURTA_NEON_INLINE void load_codes(const int8_t *codes, int8x16_t *c) {
  c[0] = vld1q_s8(codes);
  c[1] = vld1q_s8(codes + 16);
  c[2] = vld1q_s8(codes + 64);
  c[3] = vld1q_s8(codes + 80);
}

/// Adds 16 columns to the sums of each token; c are the first 8 of the rows, x all of the tokens.
/// Leaves in them what follows: the tokens' at column `next`. Loads stay where they are written:
/// ahead of their use, which processors in order wait for, and a token's apart, which clang would
/// take together and run out of registers.
CURTA_NEON_INLINE void add_columns(const int8_t *codes, int8x16_t *c, const int8_t *const *q,
                                   size_t next, int8x16_t *x, uint32_t tokens,
                                   int32x4_t (*dots)[2]) {
  int8x16_t d[4];
  EACH_TOKEN ADD(c, 0, 0);
  load_codes(codes + 32, d);
  EACH_TOKEN ADD(c, 1, 1);
  EACH_TOKEN ADD(d, 0, 2);
  load_codes(codes + 128, c);
  EACH_TOKEN {
    ADD(d, 1, 3);
    x[t] = vld1q_s8(q[t] + next);
  }
}

/// Adds a block.
CURTA_NEON_INLINE void add_block(const int8_t *codes, int8x16_t *c, const int8_t *const *q,
                                 const uint32_t *columns, int8x16_t *x, uint32_t tokens,
                                 int32x4_t (*dots)[2]) {
  size_t second = columns[0] + 16;
  __asm__("" : "+r"(second)); // an offset from q, no part of an address of each token
  const size_t next = columns[1];
  add_columns(codes, c, q, second, x, tokens, dots);
  add_columns(codes + 128, c, q, next, x, tokens, dots);
}

/// round(sum * m, shift) of four rows; count is -shift.
CURTA_NEON_INLINE int32x4_t finished(int32x4_t sum, int32x4_t m, int64x2_t count) {
  const int64x2_t low = vmull_s32(vget_low_s32(sum), vget_low_s32(m));
  const int64x2_t high = vmull_high_s32(sum, m);
  return vmovn_high_s64(vmovn_s64(vrshlq_s64(low, count)), vrshlq_s64(high, count));
}

/// sum * m of two rows.
CURTA_NEON_INLINE int64x2_t product(int64x2_t sum, uint32x2_t m) {
  const uint64x2_t low = vmull_u32(vreinterpret_u32_s32(vmovn_s64(sum)), m);
  const uint64x2_t high = vmull_u32(vreinterpret_u32_s32(vshrn_n_s64(sum, 32)), m); // mod 2^32
  return vreinterpretq_s64_u64(vaddq_u64(low, vshlq_n_u64(high, 32)));
}

/// The sums of a token in one of several chunks, or of fewer rows than a panel has.
CURTA_NEON static void deliver(const panel *p, const some_tokens *x, uint32_t t,
                               const int32_t *sums) {
  int64_t *all = p->sums[x->first + t];
  int32_t result[PANEL], *z = x->z + t * x->z_stride;
  CURTA_UNROLL for (uint32_t r = 0; r < PANEL; r += 2) {
    int64x2_t sum = vmovl_s32(vld1_s32(sums + r));
    if (!p->first)
      sum = vaddq_s64(sum, vld1q_s64(all + r));
    if (!p->last) {
      vst1q_s64(all + r, sum);
    } else {
      const int64x2_t exact = product(sum, vreinterpret_u32_s32(vld1_s32(p->mantissas + r)));
      vst1_s32(result + r, vmovn_s64(vrshlq_s64(exact, vdupq_n_s64(-(int64_t)x->shift))));
    }
  }
  for (uint32_t r = 0; p->last && r < p->rows; r++)
    z[r] = result[r];
}

/// The panel with a tile of tokens. Constants: tokens, scaled.
CURTA_NEON_INLINE void tile(const panel *p, const some_tokens *x, uint32_t tokens, int scaled) {
  const uint32_t sets = tokens == 1 ? 2 : tokens;
  const int8_t *q[TILE], *codes = p->codes, *const end = codes + p->blocks * BLOCK;
  const uint32_t *columns = p->columns;
  int8x16_t c[4], own[TILE];
  int32x4_t dots[TILE][2], sums[TILE][2]; // dots: of all blocks so far
  load_codes(codes, c);
  EACH_TOKEN {
    q[t] = x->q[t];
    own[t] = vld1q_s8(q[t] + columns[0]);
    sums[t][0] = sums[t][1] = vdupq_n_s32(0);
  }
  EACH_SET dots[s][0] = dots[s][1] = vdupq_n_s32(0);
  if (scaled) {
    for (const int32_t *scales = p->scales[0]; codes < end; codes += BLOCK, scales += PANEL) {
      const int32x4_t low = vld1q_s32(scales), high = vld1q_s32(scales + 4);
      add_block(codes, c, q, columns++, own, tokens, dots);
      EACH_SET {
        int32x4_t *const to = sums[s % tokens];
        to[0] = vmlaq_s32(to[0], dots[s][0], low);
        to[1] = vmlaq_s32(to[1], dots[s][1], high);
      }
    }
  } else {
    for (; codes < end; codes += BLOCK)
      add_block(codes, c, q, columns++, own, tokens, dots);
    EACH_SET CURTA_UNROLL for (uint32_t h = 0; h < 2; h++) sums[s % tokens][h] =
        vaddq_s32(sums[s % tokens][h], dots[s][h]);
  }
  if (p->rows == PANEL && p->chunks == 1) {
    const int32x4_t low = vld1q_s32(p->mantissas), high = vld1q_s32(p->mantissas + 4);
    const int64x2_t count = vdupq_n_s64(-(int64_t)x->shift);
    EACH_TOKEN {
      int32_t *z = x->z + t * x->z_stride;
      vst1q_s32(z, finished(sums[t][0], low, count));
      vst1q_s32(z + 4, finished(sums[t][1], high, count));
    }
    return;
  }
  int32_t each[TILE][PANEL];
  EACH_TOKEN {
    vst1q_s32(each[t], sums[t][0]);
    vst1q_s32(each[t] + 4, sums[t][1]);
  }
  for (uint32_t t = 0; t < tokens; t++)
    deliver(p, x, t, each[t]);
}

/// Tiles as functions of their own, for Tools/loop-costs to tell them apart. With scales there are
/// registers for half as many tokens.
typedef void tile_function(const panel *p, const some_tokens *x);
#define TILE_OF(name, tokens, scaled)                                                              \
  CURTA_NEON static void name(const panel *p, const some_tokens *x) { tile(p, x, tokens, scaled); }
TILE_OF(plain_one, 1, 0)
TILE_OF(plain_four, 4, 0)
TILE_OF(plain_eight, 8, 0)
TILE_OF(scaled_one, 1, 1)
TILE_OF(scaled_four, 4, 1)

// MARK: - Frame

/// A call.
typedef struct {
  const curta_weight *w;
  const curta_codes *x;
  uint32_t t0, t1;
  uint32_t n0, n1;
  int32_t *z; // of t0 and n0
  size_t z_stride;
} job;

/// A chunk of some packed panels with all tokens.
static void run_panels(const job *j, const panel *panels, uint32_t count, uint32_t chunk) {
  static tile_function *const plain[] = {plain_one, plain_four, plain_eight};
  static tile_function *const scaled[] = {scaled_one, scaled_four, scaled_four};
  const int is_scaled = j->w->group_scales != 0;
  for (uint32_t t = j->t0, step; t < j->t1; t += step) {
    const uint32_t left = j->t1 - t, size = left >= 8 ? 2 : left >= 4;
    step = size == 0 ? 1 : size == 1 || is_scaled ? 4 : 8;
    some_tokens some = {.first = t - j->t0, .shift = j->w->shift};
    some.z_stride = j->z_stride;
    for (uint32_t i = 0; i < step; i++)
      some.q[i] = j->x->codes + (size_t)(t + i) * j->x->stride;
    for (const panel *p = panels; p < panels + count; p++) {
      some.z = j->z + some.first * j->z_stride + (p->row - j->n0);
      if (chunk < p->chunks)
        (is_scaled ? scaled : plain)[size](p, &some);
    }
  }
}

/// Slab after slab: the next panels that there is room for, chunk after chunk.
static void run_slabs(const job *j, void *scratch) {
  const curta_weight *w = j->w;
  const uint32_t tokens = j->t1 - j->t0;
  const uint32_t room = least(SLAB, (CURTA_PRODUCT_SCRATCH(tokens) - tokens * SUMS - MORE) / EACH);
  const uint32_t most =
      w->group_scales && w->kind == CURTA_WEIGHT_BYTES ? SCALED_BYTES_CHUNK : CHUNK;
  int8_t *const codes = scratch;
  int64_t(*const sums)[PANEL] = (int64_t(*)[PANEL])(void *)(codes + room * BLOCK);
  int32_t(*const scales)[PANEL] = (int32_t(*)[PANEL])(void *)(sums + CHUNKED_PANELS * tokens);
  uint32_t *const columns = (uint32_t *)(void *)(scales + room);
  panel panels[PANELS];
  for (uint32_t n = j->n0; n < j->n1;) {
    uint32_t count = 0, used = 0, chunks = 1;
    for (; n < j->n1 && count < PANELS; count++) {
      const uint32_t blocks = source_of(w, n).blocks, own = blocks ? (blocks + most - 1) / most : 1;
      const uint32_t taken = (blocks + own - 1) / own;
      if (used + taken > room || (count >= CHUNKED_PANELS && (chunks > 1 || own > 1)))
        break;
      panel *p = panels + count;
      p->codes = codes + used * BLOCK;
      p->scales = scales + used;
      p->columns = columns + used + count;
      p->sums = sums + least(count, CHUNKED_PANELS - 1) * tokens;
      p->row = n;
      p->rows = least(j->n1 - n, w->mask_starts ? PANEL - n % PANEL : PANEL); // in one strip
      p->chunks = own;
      n += p->rows;
      used += taken;
      chunks = own > chunks ? own : chunks;
    }
    for (uint32_t chunk = 0; chunk < chunks; chunk++) {
      for (panel *p = panels; p < panels + count; p++)
        if (chunk < p->chunks)
          pack_panel(p, w, chunk);
      run_panels(j, panels, count, chunk);
    }
  }
}

int curta_neon_panels(const curta_weight *w, const curta_codes *x, uint32_t t0, uint32_t t1,
                      uint32_t n0, uint32_t n1, int32_t *z, size_t z_stride, void *scratch) {
  if (t1 - t0 < FEWEST || w->group_offsets)
    return 0;
  for (uint32_t t = t0, tokens; t < t1; t += tokens) {
    tokens = least(t1 - t, CURTA_PRODUCT_TOKENS);
    const job j = {w, x, t, t + tokens, n0, n1, z + t * z_stride, z_stride};
    run_slabs(&j, scratch);
  }
  return 1;
}

#endif
