// Products of grid tensors with AVX2: tiles of 1 row by 1 token and of 2 rows by 4 tokens.
// SPDX-License-Identifier: Apache-2.0
//
// Proof that no lane overflows, for codes q within 127, scales s <= 255, chunks of 128 blocks:
//
// nibbles: u = c + 8 <= 15 is the unsigned operand of VPMADDUBSW. A step of 32 columns gives int16
//   lanes of abs <= 2 * 15 * 127 = 3810; 8 steps are 30480 < 2^15. VPMADDWD by s adds two of them
//   into an int32 lane: a block adds abs <= 2 * 3810 * 255 = 1 943 100 to a lane, a chunk
//   248 716 800 < 2^31; so do two blocks that are added before. The correction, 8 * sum of s * (sum
//   of q), takes 16 groups a step and two in a lane. Its lane sees at most 2 * ceil(groups / 16)
//   groups, which is 2 * (128 / 16) blocks and a partial step of 2 * 8 blocks more: 32 blocks *
//   4064 * 255 * 8 = 265 297 920 < 2^29. The lanes' sum is sum of s * c * q, abs <= 8 * 127 * 255 *
//   4096 < 2^31; without scales the lanes' sum is at most 15 * 127 * 4096, and they begin at 8 *
//   127 * 4096 at most.
// small, sixes: u = c + 32 <= 63. A step gives abs <= 2 * 63 * 127 = 16002; two are 32004 < 2^15. A
//   block adds abs <= 2 * 16002 * 255 to a lane, a chunk of 64 blocks 522 305 280 < 2^31. The
//   correction, 32 * sum of s * (sum of q), is in a lane at most 24 blocks * 4064 * 255 * 32 <
//   2^30. The lanes' sum is sum of s * c * q, abs <= 32 * 127 * 255 * 2048 = 2 122 383 360 < 2^31,
//   once it is corrected, and taken in int64 where the frame corrects it.
// bytes: VPMADDUBSW of abs(w) and q with w's sign is exact: 2 * 127 * 127 = 32258 < 2^15. A block
//   adds 2 * 32258 * 255 = 16 451 580 to a lane, a chunk 2 105 802 240 < 2^31. The lanes' sum is
//   taken in int64; without scales it is at most 127 * 127 * 4096 < 2^27.

#include "../kernels.h"
#include "tiled.h"

#if defined(__x86_64__)
#include "avx2_panels.h"
#include "avx2_scaled.h"
#include "avx2_sixes.h"
#include "avx2_tile.h"

enum { SMALL_BIAS = 32, SMALL_BLOCKS = 64 };

/// Adds scale * u * q of the blocks [b, b + count), count <= 8, of one group.
CURTA_AVX2_INLINE void nibble_span(const uint8_t *const *row, const int8_t *const *q,
                                   const uint16_t *places, size_t b, uint32_t count,
                                   const __m256i *scale, uint32_t rows, uint32_t tokens,
                                   __m256i *lanes) {
  const __m256i down = _mm256_setr_epi32(0, 0, 0, 0, 4, 4, 4, 4);
  const __m256i nibble = _mm256_set1_epi8(15);
  __m256i steps[8];
  EACH_ROW EACH_TOKEN steps[r * tokens + t] = _mm256_setzero_si256();
  for (size_t j = 0; j < count; j++) {
    const size_t i = b + j, at = places ? places[i] : i;
    __m256i u[2];
    EACH_ROW {
      const __m256i both = _mm256_broadcastsi128_si256(load128(row[r] + i * 16));
      u[r] = _mm256_and_si256(_mm256_srlv_epi32(both, down), nibble);
    }
    EACH_TOKEN {
      const __m256i x = load256(q[t] + at * 32);
      EACH_ROW {
        __m256i *step = &steps[r * tokens + t];
        *step = _mm256_add_epi16(*step, _mm256_maddubs_epi16(u[r], x));
      }
    }
  }
  EACH_ROW EACH_TOKEN {
    const uint32_t at = r * tokens + t;
    lanes[at] = _mm256_add_epi32(lanes[at], _mm256_madd_epi16(steps[at], scale[r]));
  }
}

/// Adds scale * c * q of the blocks [b, b + count) of one group.
CURTA_AVX2_INLINE void byte_span(const uint8_t *const *row, const int8_t *const *q,
                                 const uint16_t *places, size_t b, uint32_t count,
                                 const __m256i *scale, uint32_t rows, uint32_t tokens,
                                 __m256i *lanes) {
  for (size_t j = 0; j < count; j++) {
    const size_t i = b + j, at = places ? places[i] : i;
    __m256i c[2];
    if (tokens == 1 && j % 2 == 0)
      fetch_ahead(row[0] + i * 32);
    EACH_ROW c[r] = load256(row[r] + i * 32);
    EACH_TOKEN {
      const __m256i x = load256(q[t] + at * 32);
      EACH_ROW {
        const __m256i pairs =
            tokens == 1 ? _mm256_maddubs_epi16(_mm256_abs_epi8(x), _mm256_sign_epi8(c[r], x))
                        : _mm256_maddubs_epi16(_mm256_abs_epi8(c[r]), _mm256_sign_epi8(x, c[r]));
        __m256i *lane = &lanes[r * tokens + t];
        *lane = _mm256_add_epi32(*lane, _mm256_madd_epi16(pairs, scale[r]));
      }
    }
  }
}

/// Block i of a row as code + 32.
CURTA_AVX2_INLINE __m256i block_of(int kind, const uint8_t *row, size_t i) {
  return kind == CURTA_WEIGHT_SIXES
             ? sixes_of(row + i * 24)
             : _mm256_add_epi8(load256(row + i * 32), _mm256_set1_epi8(SMALL_BIAS));
}

/// Adds scale * u * q of one or two blocks of a group, blocks i and i + 1 of the row.
CURTA_AVX2_INLINE void small_step(int kind, const uint8_t *const *row, const int8_t *const *q,
                                  const uint16_t *places, size_t i, int two, const __m256i *scale,
                                  uint32_t rows, uint32_t tokens, __m256i *lanes) {
  const size_t first = (places ? places[i] : i) * 32;
  const size_t second = two ? (places ? places[i + 1] : i + 1) * 32 : 0;
  __m256i u[2], v[2];
  EACH_ROW {
    u[r] = block_of(kind, row[r], i);
    if (two)
      v[r] = block_of(kind, row[r], i + 1);
  }
  EACH_TOKEN EACH_ROW {
    __m256i step = _mm256_maddubs_epi16(u[r], load256(q[t] + first));
    if (two)
      step = _mm256_add_epi16(step, _mm256_maddubs_epi16(v[r], load256(q[t] + second)));
    __m256i *lane = &lanes[r * tokens + t];
    *lane = _mm256_add_epi32(*lane, _mm256_madd_epi16(step, scale[r]));
  }
}

/// Adds scale * u * q of the blocks [b, b + count) of one group.
CURTA_AVX2_INLINE void small_span(int kind, const uint8_t *const *row, const int8_t *const *q,
                                  const uint16_t *places, size_t b, uint32_t count,
                                  const __m256i *scale, uint32_t rows, uint32_t tokens,
                                  __m256i *lanes) {
  const size_t end = b + count;
  for (; b + 2 <= end; b += 2)
    small_step(kind, row, q, places, b, 1, scale, rows, tokens, lanes);
  if (b < end)
    small_step(kind, row, q, places, b, 0, scale, rows, tokens, lanes);
}

/// The span of a kind; `kind`, `rows` and `tokens` are constants.
CURTA_AVX2_INLINE void span(int kind, const uint8_t *const *row, const int8_t *const *q,
                            const uint16_t *places, size_t b, uint32_t count, const __m256i *scale,
                            uint32_t rows, uint32_t tokens, __m256i *lanes) {
  if (kind == CURTA_WEIGHT_SMALL || kind == CURTA_WEIGHT_SIXES)
    small_span(kind, row, q, places, b, count, scale, rows, tokens, lanes);
  else
    (kind == CURTA_WEIGHT_NIBBLES ? nibble_span : byte_span)(row, q, places, b, count, scale, rows,
                                                             tokens, lanes);
}

/// A group scale in all int16 lanes.
CURTA_AVX2_INLINE __m256i spread(const uint8_t *scale) {
  return _mm256_srli_epi16(_mm256_set1_epi8((char)*scale), 8);
}

/// The codes of one token in the order of `four_blocks`: of two blocks the first halves, then the
/// second ones.
CURTA_AVX2_INLINE void turn_blocks(const int8_t *q, uint32_t blocks, int8_t *turned) {
  for (size_t at = 0; at + 2 <= blocks; at += 2, q += 64, turned += 64) {
    const __m256i a = load256(q), b = load256(q + 32);
    store256(turned, _mm256_permute2x128_si256(a, b, 0x20));
    store256(turned + 32, _mm256_permute2x128_si256(a, b, 0x31));
  }
}

/// Adds scale * u * q of four blocks of a row, for one token; `step` as of a tile, not 0.
CURTA_AVX2_INLINE __m256i four_blocks(__m256i lanes, const uint8_t *row, const int8_t *turned,
                                      const uint8_t *scales, uint32_t step) {
  const __m256i nibble = _mm256_set1_epi8(15);
  uint32_t few = 0;
  if (step != 8)
    __builtin_memcpy(&few, scales, 4 / step);
  fetch_ahead(row);
  CURTA_UNROLL for (uint32_t b = 0; b < 4; b += 2) {
    const __m256i x = load256(row + b * 16), y = _mm256_srli_epi16(x, 4);
    const __m256i low = _mm256_maddubs_epi16(_mm256_and_si256(x, nibble), load256(turned + b * 32));
    const __m256i high =
        _mm256_maddubs_epi16(_mm256_and_si256(y, nibble), load256(turned + b * 32 + 32));
    const int64_t first = HALF(b / step), second = HALF((b + 1) / step);
    const __m256i scale =
        step == 8 ? _mm256_set1_epi16(1)
                  : _mm256_shuffle_epi8(_mm256_set1_epi32((int32_t)few),
                                        _mm256_setr_epi64x(first, first, second, second));
    lanes = _mm256_add_epi32(lanes, _mm256_madd_epi16(_mm256_add_epi16(low, high), scale));
  }
  return lanes;
}

/// A tile. Constants: kind, rows, tokens, whether some blocks are chosen, and `step`: the blocks
/// of a group (1, 2 or 4); 8: no group scales; 0: any group. `turned` are the codes of one token
/// for `four_blocks`, or NULL.
CURTA_AVX2_INLINE void tile(const curta_chunk *c, const int8_t *turned, const uint32_t *at,
                            int64_t (*totals)[4], int kind, uint32_t rows, uint32_t tokens,
                            uint32_t step, int some) {
  const curta_weight *w = c->w;
  const int is_biased = kind != CURTA_WEIGHT_BYTES, log_bias = kind == CURTA_WEIGHT_NIBBLES ? 3 : 5;
  const uint16_t *places = some ? c->places : 0;
  const size_t block_bytes = curta_block_bytes((uint32_t)kind);
  const uint8_t *row[2], *scales[2] = {0};
  __m256i scale[2], lanes[8];
  EACH_ROW {
    row[r] = (const uint8_t *)w->codes + (size_t)at[r] * w->row_bytes + c->first * block_bytes;
    if (w->group_scales)
      scales[r] = w->group_scales + (size_t)at[r] * w->groups + c->group;
    scale[r] = _mm256_set1_epi16(1);
    EACH_TOKEN lanes[r * tokens + t] =
        is_biased && step == 8 ? _mm256_zextsi128_si256(_mm_cvtsi32_si128(c->corrections[t]))
                               : _mm256_setzero_si256();
  }
  const int8_t *q[4];
  EACH_TOKEN q[t] = c->q[t];
  uint32_t b = 0, g = 0;
  if (turned)
    for (; b + 4 <= c->blocks; b += 4, g += 4 / step)
      lanes[0] = four_blocks(lanes[0], row[0] + b * 16, turned + b * 32, scales[0] + g, step);
  if (step) { // groups begin where chunks begin
    for (; b + step <= c->blocks; b += step, g++) {
      if (step != 8)
        EACH_ROW scale[r] = spread(scales[r] + g);
      span(kind, row, q, places, b, step, scale, rows, tokens, lanes);
    }
  }
  uint32_t group_end = step ? c->blocks : (c->group + 1) * w->group_blocks - c->first;
  while (b < c->blocks) {
    if (w->group_scales)
      EACH_ROW scale[r] = spread(scales[r] + g);
    const uint32_t end = group_end < c->blocks ? group_end : c->blocks;
    for (uint32_t count; b < end; b += count) {
      count = end - b < 8 ? end - b : 8;
      span(kind, row, q, places, b, count, scale, rows, tokens, lanes);
    }
    group_end += w->group_blocks;
    g++;
  }
  const int corrects = is_biased && step != 8 && w->group_blocks <= CURTA_SUMMED_BLOCKS;
  if (corrects)
    subtract_bias(c, at, rows, tokens, log_bias, lanes);
  // A chunk's sum fits int32, of bytes with scales that of 16 blocks: 16 * 32 * 127 * 127 * 255.
  const int narrow = kind == CURTA_WEIGHT_NIBBLES || corrects || step == 8 || c->blocks <= 16;
  if (tokens == 4 && narrow) {
    EACH_ROW store256(totals[r], _mm256_cvtepi32_epi64(sums_of_four(&lanes[r * 4])));
    return;
  }
  EACH_ROW EACH_TOKEN {
    const __m256i lane = lanes[r * tokens + t];
    totals[r][t] = narrow ? sum_of_i32(lane) : sum_of_i64(widened(lane));
  }
}

/// Tiles from row to row; of an odd number the last row is repeated.
CURTA_AVX2_INLINE void tiles(const curta_chunk *c, uint32_t n0, uint32_t n1, int64_t (*sums)[4],
                             int kind, uint32_t rows, uint32_t tokens, uint32_t step, int some) {
  int8_t turned[CURTA_CHUNK_BLOCKS * 32];
  const int turns = kind == CURTA_WEIGHT_NIBBLES && tokens == 1 && step && !some;
  if (turns)
    turn_blocks(c->q[0], c->blocks, turned);
  for (uint32_t n = n0; n < n1; n += rows) {
    const uint32_t at[2] = {n, n + 1 < n1 ? n + 1 : n};
    tile(c, turns ? turned : 0, at, sums + (n - n0), kind, rows, tokens, step, some);
  }
}

/// Tiles as a function: chooses among the constants.
#define TILE(name, kind, rows, tokens)                                                             \
  CURTA_AVX2 static void name(const curta_chunk *c, uint32_t n0, uint32_t n1, int64_t(*sums)[4]) { \
    if (c->places && c->w->group_scales)                                                           \
      tiles(c, n0, n1, sums, kind, rows, tokens, 1, 1);                                            \
    else if (c->places)                                                                            \
      tiles(c, n0, n1, sums, kind, rows, tokens, 8, 1);                                            \
    else if (!c->w->group_scales)                                                                  \
      tiles(c, n0, n1, sums, kind, rows, tokens, 8, 0);                                            \
    else if (c->w->group_blocks == 1)                                                              \
      tiles(c, n0, n1, sums, kind, rows, tokens, 1, 0);                                            \
    else if (c->w->group_blocks == 2)                                                              \
      tiles(c, n0, n1, sums, kind, rows, tokens, 2, 0);                                            \
    else if (c->w->group_blocks == 4)                                                              \
      tiles(c, n0, n1, sums, kind, rows, tokens, 4, 0);                                            \
    else                                                                                           \
      tiles(c, n0, n1, sums, kind, rows, tokens, 0, 0);                                            \
  }
TILE(nibbles_one, CURTA_WEIGHT_NIBBLES, 1, 1)
TILE(nibbles_four, CURTA_WEIGHT_NIBBLES, 2, 4)
TILE(bytes_one, CURTA_WEIGHT_BYTES, 1, 1)
TILE(bytes_four, CURTA_WEIGHT_BYTES, 2, 4)

/// Where steps have two blocks: groups of one are none quicker than those of bytes.
static int gains(const curta_weight *w) { return !w->group_scales || w->group_blocks > 1; }

CURTA_AVX2 static void small_four(const curta_chunk *c, uint32_t n0, uint32_t n1,
                                  int64_t (*sums)[4]) {
  if (c->places)
    tiles(c, n0, n1, sums, CURTA_WEIGHT_SMALL, 2, 4, 8, 1);
  else if (!c->w->group_scales)
    tiles(c, n0, n1, sums, CURTA_WEIGHT_SMALL, 2, 4, 8, 0);
  else if (c->w->group_blocks == 2)
    tiles(c, n0, n1, sums, CURTA_WEIGHT_SMALL, 2, 4, 2, 0);
  else
    tiles(c, n0, n1, sums, CURTA_WEIGHT_SMALL, 2, 4, 0, 0);
}

CURTA_AVX2 void curta_avx2_sixes_one(const curta_chunk *c, uint32_t n0, uint32_t n1,
                                     int64_t (*sums)[4]) {
  tiles(c, n0, n1, sums, CURTA_WEIGHT_SIXES, 1, 1, 0, 0);
}

CURTA_AVX2 void curta_avx2_sixes_four(const curta_chunk *c, uint32_t n0, uint32_t n1,
                                      int64_t (*sums)[4]) {
  if (!c->w->group_scales)
    tiles(c, n0, n1, sums, CURTA_WEIGHT_SIXES, 2, 4, 8, 0);
  else if (c->w->group_blocks == 2)
    tiles(c, n0, n1, sums, CURTA_WEIGHT_SIXES, 2, 4, 2, 0);
  else
    tiles(c, n0, n1, sums, CURTA_WEIGHT_SIXES, 2, 4, 0, 0);
}

/// abs(offset) <= 32767 and abs(sum) <= 8 * 4064: two products fit an int32 lane.
CURTA_AVX2 int64_t curta_avx2_offset_dot(const int16_t *offsets, const int16_t *sums,
                                         uint32_t groups) {
  __m256i lanes = _mm256_setzero_si256();
  uint32_t g = 0;
  for (; g + 16 <= groups; g += 16)
    lanes = _mm256_add_epi64(lanes,
                             widened(_mm256_madd_epi16(load256(offsets + g), load256(sums + g))));
  int64_t total = sum_of_i64(lanes);
  for (; g < groups; g++)
    total += offsets[g] * sums[g];
  return total;
}

/// The low 32 bits of round(sum * m, shift) in 64-bit lanes; shift <= 26. `fits`: the sum int32.
CURTA_AVX2_INLINE __m256i rounded(__m256i sum, uint16_t mantissa, __m256i half, __m128i shift,
                                  int fits) {
  const __m256i m = _mm256_set1_epi64x(mantissa);
  __m256i x;
  if (fits) {
    x = _mm256_mul_epi32(sum, m);
  } else {
    const __m256i high = _mm256_mul_epu32(_mm256_srli_epi64(sum, 32), m); // modulo 2^64
    x = _mm256_add_epi64(_mm256_mul_epu32(sum, m), _mm256_slli_epi64(high, 32));
  }
  return _mm256_srl_epi64(_mm256_add_epi64(x, half), shift);
}

/// Four rows at a time, of which each token has 128 bits.
CURTA_AVX2_INLINE void finish(const curta_weight *w, uint32_t n0, uint32_t n1,
                              const int64_t (*sums)[4], int32_t *z, size_t z_stride, int fits) {
  const __m256i half = _mm256_set1_epi64x(w->shift ? (int64_t)1 << (w->shift - 1) : 0);
  const __m128i shift = _mm_cvtsi32_si128((int32_t)w->shift);
  const uint16_t *m = w->mantissas + n0;
  const uint32_t rows = n1 - n0;
  uint32_t n = 0;
  for (; n + 4 <= rows; n += 4) {
    __m256i two[2]; // [token][2 rows]
    CURTA_UNROLL for (uint32_t i = 0; i < 2; i++) {
      const uint32_t k = n + 2 * i;
      const __m256i a = rounded(load256(sums[k]), m[k], half, shift, fits);
      const __m256i b = rounded(load256(sums[k + 1]), m[k + 1], half, shift, fits);
      two[i] = _mm256_blend_epi32(a, _mm256_slli_epi64(b, 32), 0xAA);
    }
    const __m256i even = _mm256_unpacklo_epi64(two[0], two[1]); // tokens 0 and 2
    const __m256i odd = _mm256_unpackhi_epi64(two[0], two[1]);
    store128(z + n, low128(even));
    store128(z + z_stride + n, low128(odd));
    store128(z + 2 * z_stride + n, high128(even));
    store128(z + 3 * z_stride + n, high128(odd));
  }
  for (; n < rows; n++) {
    int64_t last[4];
    store256(last, rounded(load256(sums[n]), m[n], half, shift, fits));
    for (int t = 0; t < 4; t++)
      z[(size_t)t * z_stride + n] = (int32_t)last[t];
  }
}

/// Without group scales a sum is at most 127 * 127 * 2^17 < 2^31.
CURTA_AVX2 void curta_avx2_finish(const curta_weight *w, uint32_t n0, uint32_t n1,
                                  const int64_t (*sums)[4], int32_t *z, size_t z_stride) {
  if (w->group_scales)
    finish(w, n0, n1, sums, z, z_stride, 0);
  else
    finish(w, n0, n1, sums, z, z_stride, 1);
}

void curta_product_nibbles__avx2(const curta_weight *w, const curta_codes *x, uint32_t t0,
                                 uint32_t t1, uint32_t n0, uint32_t n1, int32_t *z, size_t z_stride,
                                 void *scratch) {
  if (curta_avx2_scaled_fits(w, t1 - t0, n0, n1)) {
    curta_avx2_scaled(w, x, t0, t1, n0, n1, z, z_stride, &curta_avx2_scaled_ways, scratch);
    return;
  }
  static const curta_tiles set = {
      nibbles_one, nibbles_four, curta_avx2_offset_dot, CURTA_CHUNK_BLOCKS, 8, curta_avx2_finish};
  curta_product_tiled(w, x, t0, t1, n0, n1, z, z_stride, &set);
}

void curta_avx2_bytes_tiled(const curta_weight *w, const curta_codes *x, uint32_t t0, uint32_t t1,
                            uint32_t n0, uint32_t n1, int32_t *z, size_t z_stride) {
  static const curta_tiles set = {bytes_one,          bytes_four, curta_avx2_offset_dot,
                                  CURTA_CHUNK_BLOCKS, 0,          curta_avx2_finish};
  static const curta_tiles small = {
      0, small_four, curta_avx2_offset_dot, SMALL_BLOCKS, SMALL_BIAS, curta_avx2_finish};
  curta_product_tiled(w, x, t0, t1, n0, n1, z, z_stride,
                      w->kind == CURTA_WEIGHT_SMALL && t1 - t0 > 1 && gains(w) ? &small : &set);
}

void curta_product_bytes__avx2(const curta_weight *w, const curta_codes *x, uint32_t t0,
                               uint32_t t1, uint32_t n0, uint32_t n1, int32_t *z, size_t z_stride,
                               void *scratch) {
  if (curta_avx2_scaled_fits(w, t1 - t0, n0, n1))
    curta_avx2_scaled(w, x, t0, t1, n0, n1, z, z_stride, &curta_avx2_scaled_ways, scratch);
  else if (w->kind == CURTA_WEIGHT_BYTES && !w->group_scales && t1 - t0 >= CURTA_PANEL_TOKENS)
    curta_avx2_panels(w, x, t0, t1, n0, n1, z, z_stride, &curta_avx2_bytes_way, scratch);
  else
    curta_avx2_bytes_tiled(w, x, t0, t1, n0, n1, z, z_stride);
}

/// A step adds abs <= 2 * 32767 * 127 to an int32 lane: 256 steps are 2 130 641 408 < 2^31.
CURTA_AVX2 static int64_t wide_dot(const int16_t *c, const int8_t *q, uint32_t columns) {
  __m256i total = _mm256_setzero_si256();
  uint32_t k = 0;
  while (k + 16 <= columns) {
    __m256i lanes = _mm256_setzero_si256();
    for (uint32_t step = 0; step < 256 && k + 16 <= columns; step++, k += 16)
      lanes = _mm256_add_epi32(
          lanes, _mm256_madd_epi16(load256(c + k), _mm256_cvtepi8_epi16(load128(q + k))));
    total = _mm256_add_epi64(total, widened(lanes));
  }
  int64_t sum = sum_of_i64(total);
  for (; k < columns; k++)
    sum += c[k] * q[k];
  return sum;
}

void curta_product_wide__avx2(const curta_weight *w, const curta_codes *x, uint32_t t0, uint32_t t1,
                              uint32_t n0, uint32_t n1, int32_t *z, size_t z_stride,
                              void *scratch) {
  (void)scratch;
  curta_product_wide_rows(w, x, t0, t1, n0, n1, z, z_stride, wide_dot);
}

#endif
