// Tiles of panels with SDOT: 8 rows by 8 tokens.
// SPDX-License-Identifier: Apache-2.0
//
// SDOT by element multiplies four columns of four rows by the same four codes of a token, so that a
// lane is a row: nothing is summed across lanes, and 16 loads are enough for 64 SDOT.
//
// With scales s and dots d of blocks, sum of s[b] * d[b] = sum of (s[b] - s[b + 1]) * (d[0] + ... +
// d[b]): the lanes of dots are never cleared.

#include "../kernels.h"

#if defined(__aarch64__)
#define CURTA_NEON_SDOT
#include "neon_panels.h"
#include "neon_panels_frame.h"

enum {
  TILE = 8,   // tokens
  FEWEST = 5, // tokens that pay for packing
  CHUNK = 64, // blocks at most: of 8 tokens 16 KiB
};

/// Tokens of a tile, and where their results go.
typedef struct {
  const int8_t *q[TILE];
  sink to;
} some_tokens;

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
  finish_tokens(p, &x->to, tokens, (const int32x4_t(*)[2])sums);
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

static void run(const job *j, const panel *panels, uint32_t count, uint32_t chunk, void *more) {
  (void)more;
  static tile_function *const plain[] = {plain_one, plain_four, plain_eight};
  static tile_function *const scaled[] = {scaled_one, scaled_four, scaled_four};
  const int is_scaled = j->w->group_scales != 0;
  for (uint32_t t = j->t0, step; t < j->t1; t += step) {
    const uint32_t left = j->t1 - t, size = left >= 8 ? 2 : left >= 4;
    step = size == 0 ? 1 : size == 1 || is_scaled ? 4 : 8;
    some_tokens some = {.to = {t - j->t0, j->w->shift, 0, j->z_stride}};
    for (uint32_t i = 0; i < step; i++)
      some.q[i] = j->x->codes + (size_t)(t + i) * j->x->stride;
    for (const panel *p = panels; p < panels + count; p++) {
      some.to.z = j->z + some.to.first * j->z_stride + (p->row - j->n0);
      if (chunk < p->chunks)
        (is_scaled ? scaled : plain)[size](p, &some);
    }
  }
}

int curta_neon_panels_dotprod(const curta_weight *w, const curta_codes *x, uint32_t t0, uint32_t t1,
                              uint32_t n0, uint32_t n1, int32_t *z, size_t z_stride,
                              void *scratch) {
  static const curta_panel_way way = {run, CHUNK, 32, 0, 0};
  if (t1 - t0 < FEWEST || w->group_offsets)
    return 0;
  curta_neon_panels(w, x, t0, t1, n0, n1, z, z_stride, &way, scratch);
  return 1;
}

#endif
