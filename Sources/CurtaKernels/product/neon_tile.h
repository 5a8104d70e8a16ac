// A tile of a grid product on aarch64, from the spans that the including file defines.
// SPDX-License-Identifier: Apache-2.0
//
// Before: neon.h, and
//   nibble_span(row, q, places, b, count, rows, tokens, dots): adds the sums of c * q of the blocks
//   [b, b + count), count <= 8, to the int32 lanes dots[rows * tokens];
//   six_span(row, q, b, count, rows, tokens, dots), the same of packed codes of 6 bits.
//
// Proof that no int32 lane overflows, for codes q within 127, scales s <= 255: a block adds 8 of
// its 32 products to a lane. nibbles: 8 * 8 * 127 * 255 = 2 072 640, a chunk of 128 blocks 265 297
// 920. sixes: 8 * 32 * 127 * 255, a chunk 1 061 191 680. bytes: 8 * 127 * 127 * 255 = 32 903 160, a
// chunk of 64 blocks 2 105 802 240 < 2^31.

#ifndef CURTA_NEON_TILE_H
#define CURTA_NEON_TILE_H

enum { NIBBLE_CHUNK = CURTA_CHUNK_BLOCKS, BYTE_CHUNK = 64 };

/// 16 codes of each row and token, those of the rows from i on, of the tokens from `at` on.
CURTA_NEON_INLINE void half_block(const uint8_t *const *row, size_t i, const int8_t *const *q,
                                  size_t at, uint32_t rows, uint32_t tokens, int32x4_t *dots) {
  int8x16_t c[2];
  EACH_ROW c[r] = vreinterpretq_s8_u8(vld1q_u8(row[r] + i));
  EACH_TOKEN {
    const int8x16_t x = vld1q_s8(q[t] + at);
    EACH_ROW dots[r * tokens + t] = sixteen(dots[r * tokens + t], c[r], x);
  }
}

/// As nibble_span. With places a turn of the loop takes a block, else half of one, which suits
/// processors in order: clang would bring both halves by LDP and wait for them.
CURTA_NEON_INLINE void byte_span(const uint8_t *const *row, const int8_t *const *q,
                                 const uint16_t *places, size_t b, uint32_t count, uint32_t rows,
                                 uint32_t tokens, int32x4_t *dots) {
  if (places) {
    for (size_t j = b; j < b + count; j++) {
      const size_t at = places[j] * (size_t)32;
      half_block(row, j * 32, q, at, rows, tokens, dots);
      half_block(row, j * 32 + 16, q, at + 16, rows, tokens, dots);
    }
  } else {
    for (size_t i = b * 32; i < (b + count) * 32; i += 16)
      half_block(row, i, q, i, rows, tokens, dots);
  }
}

CURTA_NEON_INLINE void span(int kind, const uint8_t *const *row, const int8_t *const *q,
                            const uint16_t *places, size_t b, uint32_t count,
                            const uint8_t *const *scales, uint32_t g, uint32_t rows,
                            uint32_t tokens, int32x4_t *lanes) {
  int32x4_t dots[8];
  EACH_ROW EACH_TOKEN dots[r * tokens + t] = vdupq_n_s32(0);
  if (kind == CURTA_WEIGHT_SIXES)
    six_span(row, q, b, count, rows, tokens, dots);
  else
    (kind == CURTA_WEIGHT_NIBBLES ? nibble_span : byte_span)(row, q, places, b, count, rows, tokens,
                                                             dots);
  EACH_ROW EACH_TOKEN {
    const uint32_t at = r * tokens + t;
    lanes[at] =
        scales[r] ? vmlaq_n_s32(lanes[at], dots[at], scales[r][g]) : vaddq_s32(lanes[at], dots[at]);
  }
}

/// A tile. Constants: kind, rows, tokens, whether some blocks are chosen, and `step`: the blocks
/// of a group (1 or 2); 8: no group scales; 0: any group.
CURTA_NEON_INLINE void tile(const curta_chunk *c, const uint32_t *at, int64_t (*totals)[4],
                            int kind, uint32_t rows, uint32_t tokens, uint32_t step, int some) {
  const curta_weight *w = c->w;
  const uint16_t *places = some ? c->places : 0;
  const size_t block_bytes = curta_block_bytes((uint32_t)kind);
  const uint8_t *row[2], *scales[2];
  const int8_t *q[4];
  int32x4_t lanes[8];
  EACH_ROW {
    row[r] = (const uint8_t *)w->codes + (size_t)at[r] * w->row_bytes + c->first * block_bytes;
    scales[r] = step == 8 ? 0 : w->group_scales + (size_t)at[r] * w->groups + c->group;
    EACH_TOKEN lanes[r * tokens + t] = vdupq_n_s32(0);
  }
  EACH_TOKEN q[t] = c->q[t];
  uint32_t b = 0, g = 0;
  if (step) { // groups begin where chunks begin
    for (; c->blocks - b >= step; b += step, g++)
      span(kind, row, q, places, b, step, scales, g, rows, tokens, lanes);
  }
  uint32_t group_end = step ? c->blocks : (c->group + 1) * w->group_blocks - c->first;
  for (; b < c->blocks; g++, group_end += w->group_blocks) {
    const uint32_t end = group_end < c->blocks ? group_end : c->blocks;
    for (uint32_t count; b < end; b += count) {
      count = end - b < 8 ? end - b : 8;
      span(kind, row, q, places, b, count, scales, g, rows, tokens, lanes);
    }
  }
  EACH_ROW EACH_TOKEN totals[r][t] = vaddlvq_s32(lanes[r * tokens + t]);
}

/// Tiles from row to row; of an odd number the last row is repeated.
CURTA_NEON_INLINE void tiles(const curta_chunk *c, uint32_t n0, uint32_t n1, int64_t (*sums)[4],
                             int kind, uint32_t rows, uint32_t tokens, uint32_t step, int some) {
  for (uint32_t n = n0; n < n1; n += rows) {
    const uint32_t at[2] = {n, n + 1 < n1 ? n + 1 : n};
    tile(c, at, sums + (n - n0), kind, rows, tokens, step, some);
  }
}

/// Tiles as a function: chooses among the constants. Masked ones are a function of their own, for
/// Tools/loop-costs to tell them apart.
#define DENSE(kind, rows, tokens)                                                                  \
  if (!c->w->group_scales)                                                                         \
    tiles(c, n0, n1, sums, kind, rows, tokens, 8, 0);                                              \
  else if (c->w->group_blocks == 1)                                                                \
    tiles(c, n0, n1, sums, kind, rows, tokens, 1, 0);                                              \
  else if (c->w->group_blocks == 2)                                                                \
    tiles(c, n0, n1, sums, kind, rows, tokens, 2, 0);                                              \
  else                                                                                             \
    tiles(c, n0, n1, sums, kind, rows, tokens, 0, 0);
#define DENSE_TILE(name, kind, rows, tokens)                                                       \
  CURTA_NEON static void name(const curta_chunk *c, uint32_t n0, uint32_t n1, int64_t(*sums)[4]) { \
    DENSE(kind, rows, tokens)                                                                      \
  }
#define TILE(name, kind, rows, tokens)                                                             \
  CURTA_NEON __attribute__((noinline)) static void name##_masked(                                  \
      const curta_chunk *c, uint32_t n0, uint32_t n1, int64_t(*sums)[4]) {                         \
    if (c->w->group_scales)                                                                        \
      tiles(c, n0, n1, sums, kind, rows, tokens, 1, 1);                                            \
    else                                                                                           \
      tiles(c, n0, n1, sums, kind, rows, tokens, 8, 1);                                            \
  }                                                                                                \
  CURTA_NEON static void name(const curta_chunk *c, uint32_t n0, uint32_t n1, int64_t(*sums)[4]) { \
    if (c->places)                                                                                 \
      name##_masked(c, n0, n1, sums);                                                              \
    else                                                                                           \
      DENSE(kind, rows, tokens)                                                                    \
  }
TILE(nibbles_one, CURTA_WEIGHT_NIBBLES, 1, 1)
TILE(nibbles_four, CURTA_WEIGHT_NIBBLES, 2, 4)
TILE(bytes_one, CURTA_WEIGHT_BYTES, 1, 1)
TILE(bytes_four, CURTA_WEIGHT_BYTES, 2, 4)
DENSE_TILE(sixes_one, CURTA_WEIGHT_SIXES, 1, 1)
DENSE_TILE(sixes_four, CURTA_WEIGHT_SIXES, 2, 4)

CURTA_NEON static int64_t offset_dot(const int16_t *offsets, const int16_t *sums, uint32_t groups) {
  int64x2_t lanes = vdupq_n_s64(0);
  uint32_t g = 0;
  for (; groups - g >= 8; g += 8) {
    const int16x8_t o = vld1q_s16(offsets + g), s = vld1q_s16(sums + g);
    lanes = vpadalq_s32(lanes, vmull_s16(vget_low_s16(o), vget_low_s16(s)));
    lanes = vpadalq_s32(lanes, vmull_high_s16(o, s));
  }
  int64_t total = vaddvq_s64(lanes);
  for (; g < groups; g++)
    total += offsets[g] * sums[g];
  return total;
}

/// The low 32 bits of round(sum * m, shift) of two tokens; count is -shift. `fits`: the sum int32.
CURTA_NEON_INLINE int32x2_t rounded(int64x2_t sum, uint32_t m, int64x2_t count, int fits) {
  if (fits)
    return vmovn_s64(vrshlq_s64(vmull_n_s32(vmovn_s64(sum), (int32_t)m), count));
  const uint64x2_t low = vmull_n_u32(vreinterpret_u32_s32(vmovn_s64(sum)), m);
  const uint64x2_t high = vmull_n_u32(vreinterpret_u32_s32(vshrn_n_s64(sum, 32)), m); // mod 2^32
  const uint64x2_t x = vaddq_u64(low, vshlq_n_u64(high, 32));
  return vmovn_s64(vrshlq_s64(vreinterpretq_s64_u64(x), count));
}

/// Results of a row for four tokens.
CURTA_NEON_INLINE int32x4_t finished_row(const int64_t *sums, uint32_t m, int64x2_t count,
                                         int fits) {
  return vcombine_s32(rounded(vld1q_s64(sums), m, count, fits),
                      rounded(vld1q_s64(sums + 2), m, count, fits));
}

/// Four rows at a time, turned.
CURTA_NEON_INLINE void finish_rows(const curta_weight *w, uint32_t n0, uint32_t n1,
                                   const int64_t (*sums)[4], int32_t *z, size_t z_stride,
                                   int fits) {
  const int64x2_t count = vdupq_n_s64(-(int64_t)w->shift);
  const uint16_t *m = w->mantissas + n0;
  const uint32_t rows = n1 - n0;
  uint32_t n = 0;
  for (; rows - n >= 4; n += 4) {
    int32x4_t x[4];
    CURTA_UNROLL for (uint32_t i = 0; i < 4; i++) x[i] =
        finished_row(sums[n + i], m[n + i], count, fits);
    const int32x4_t a = vtrn1q_s32(x[0], x[1]), b = vtrn2q_s32(x[0], x[1]);
    const int32x4_t c = vtrn1q_s32(x[2], x[3]), d = vtrn2q_s32(x[2], x[3]);
    int32_t *to = z + n;
    vst1q_s32(to, vcombine_s32(vget_low_s32(a), vget_low_s32(c)));
    vst1q_s32(to + z_stride, vcombine_s32(vget_low_s32(b), vget_low_s32(d)));
    vst1q_s32(to + 2 * z_stride, vcombine_s32(vget_high_s32(a), vget_high_s32(c)));
    vst1q_s32(to + 3 * z_stride, vcombine_s32(vget_high_s32(b), vget_high_s32(d)));
  }
  for (; n < rows; n++) {
    int32_t x[4];
    vst1q_s32(x, finished_row(sums[n], m[n], count, fits));
    for (uint32_t t = 0; t < 4; t++)
      z[t * z_stride + n] = x[t];
  }
}

/// curta_finish. Without group scales a sum is at most 127 * 127 * 2^17 < 2^31.
CURTA_NEON static void finish(const curta_weight *w, uint32_t n0, uint32_t n1,
                              const int64_t (*sums)[4], int32_t *z, size_t z_stride) {
  if (w->group_scales)
    finish_rows(w, n0, n1, sums, z, z_stride, 0);
  else
    finish_rows(w, n0, n1, sums, z, z_stride, 1);
}

#endif
