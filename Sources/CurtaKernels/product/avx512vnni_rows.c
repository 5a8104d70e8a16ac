// Products of grid tensors with AVX-512 VNNI for one token: each row once, as it lies in memory.
// SPDX-License-Identifier: Apache-2.0
//
// A span is 64 bytes of a row: four blocks of nibbles (their 16 low codes each, then their 16 high
// ones) or two blocks of bytes. The token's codes are laid in that order first.
//
// Proof that no lane overflows: nibbles are u = c + 8 <= 15. A span adds abs <= 8 * 15 * 127 * 255
// to an int32 lane, a chunk of 64 spans 248 716 800 < 2^28; the correction, sum of s * (sum of q),
// adds two groups a step: 32 groups * 4064 * 255 < 2^25 a chunk's lane at most, times 8 < 2^28.
// Bytes are u = c + 128 <= 255: modulo 2^32, as the lanes' sum is taken after the correction, -128
// * (sum of q) of each span, which makes a lane's span the sum of four c * q: abs <= 4 * 127 * 127
// * 255, and 64 of them 1 052 901 120 < 2^31.

#include "../kernels.h"
#include "vnni.h"

#if defined(__x86_64__)
#include "../avx512.h"

enum {
  SLAB = 64,      // rows whose sums wait for the next chunk
  SPANS = 64,     // in a chunk at most
  SUMS = 256,     // groups in a chunk at most
  LONG_ROW = 640, // bytes; shorter rows go by four, longer ones as one stream
  AHEAD = 4096,   // bytes that are fetched ahead of a row, over the border of a page
};

/// A chunk of the columns of one token.
typedef struct {
  const curta_weight *w;
  size_t first;                      // byte of a row
  uint32_t bytes;                    // of a row in the chunk
  uint32_t group;                    // that the first column is in
  uint32_t groups;                   // that have columns in the chunk
  int64_t sum;                       // of all codes
  int16_t sums[SUMS + 32];           // of the codes of each group, then zeros
  _Alignas(64) int8_t q[SPANS][128]; // codes in the order of a span
} chunk;

static uint32_t least(uint32_t a, uint32_t b) { return a < b ? a : b; }

/// How the groups lie in a span.
enum pattern { PLAIN, ONE, TWO, FOUR };

/// Scales of the span's groups, each in the lanes of its codes; of the last span `left` are there.
CURTA_AVX512_INLINE __m512i scales_at(const uint8_t *scales, uint32_t left, int last,
                                      enum pattern pattern) {
  if (pattern == ONE)
    return _mm512_set1_epi32(*scales);
  int32_t few = 0;
  if (last)
    few = _mm_cvtsi128_si32(_mm_maskz_loadu_epi8((__mmask16)((1u << left) - 1), scales));
  else
    __builtin_memcpy(&few, scales, pattern == TWO ? 2 : 4);
  // Byte i of each of four parts of 16 bytes, to all of its int32 lanes.
  const __m512i order =
      pattern == TWO ? _mm512_inserti64x4(_mm512_set1_epi32(-256), _mm256_set1_epi32(-255), 1)
                     : _mm512_set_epi32(-253, -253, -253, -253, -254, -254, -254, -254, -255, -255,
                                        -255, -255, -256, -256, -256, -256);
  return _mm512_shuffle_epi8(_mm512_set1_epi32(few), order);
}

/// Sum of scale * (sum of q) over the groups of the chunk, in lanes.
CURTA_AVX512_INLINE __m512i group_sums(const chunk *c, const uint8_t *scales) {
  __m512i lanes = _mm512_setzero_si512();
  for (uint32_t g = 0; g < c->groups; g += 32) {
    const uint32_t left = least(c->groups - g, 32);
    const __mmask32 there = left == 32 ? ~(__mmask32)0 : ((__mmask32)1 << left) - 1;
    const __m512i s = _mm512_cvtepu8_epi16(_mm256_maskz_loadu_epi8(there, scales + g));
    lanes = _mm512_add_epi32(lanes, _mm512_madd_epi16(s, load512(c->sums + g)));
  }
  return lanes;
}

/// Adds the products of a span.
CURTA_AVX512_INLINE __m512i add_span(__m512i lanes, __m512i x, const int8_t *q, int nibbles,
                                     const uint8_t *scales, uint32_t left, int last,
                                     enum pattern pattern) {
  const __m512i nibble = _mm512_set1_epi8(15), flip = _mm512_set1_epi8(-128);
  __m512i sum = pattern ? _mm512_setzero_si512() : lanes;
  sum = _mm512_dpbusd_epi32(sum, nibbles ? _mm512_and_si512(x, nibble) : _mm512_xor_si512(x, flip),
                            load512(q));
  if (nibbles)
    sum = _mm512_dpbusd_epi32(sum, _mm512_and_si512(_mm512_srli_epi16(x, 4), nibble),
                              load512(q + 64));
  if (!pattern)
    return sum;
  return _mm512_add_epi32(lanes, _mm512_mullo_epi32(sum, scales_at(scales, left, last, pattern)));
}

/// Sums of the lanes of four rows; those of int32 are taken modulo 2^32.
CURTA_AVX512_INLINE void add_up(const __m512i *lanes, uint32_t rows, int wide, int64_t *totals) {
  if (rows == 1) {
    totals[0] =
        wide ? _mm512_reduce_add_epi64(widened512(lanes[0])) : _mm512_reduce_add_epi32(lanes[0]);
    return;
  }
  __m256i x[4];
  for (int r = 0; r < 4; r++) {
    const __m512i all = wide ? widened512(lanes[r]) : lanes[r];
    const __m256i low = _mm512_castsi512_si256(all), high = _mm512_extracti64x4_epi64(all, 1);
    x[r] = wide ? _mm256_add_epi64(low, high) : _mm256_add_epi32(low, high);
  }
  if (wide) {
    for (int r = 0; r < 4; r++)
      totals[r] = sum_of_i64(x[r]);
    return;
  }
  const __m256i both =
      _mm256_hadd_epi32(_mm256_hadd_epi32(x[0], x[1]), _mm256_hadd_epi32(x[2], x[3]));
  store256(totals, _mm256_cvtepi32_epi64(_mm_add_epi32(low128(both), high128(both))));
}

/// Sums of scale * code * q of the chunk for some rows. Constants: nibbles, rows (1 or 4), pattern.
CURTA_AVX512_INLINE void dot(const chunk *c, uint32_t n, int nibbles, uint32_t rows,
                             enum pattern pattern, int64_t *totals) {
  const curta_weight *w = c->w;
  const uint8_t *row = (const uint8_t *)w->codes + (size_t)n * w->row_bytes + c->first;
  const uint8_t *scales = pattern ? w->group_scales + (size_t)n * w->groups + c->group : 0;
  // Groups in a span, or spans in a group.
  const uint32_t per_span = pattern == FOUR ? 4 : pattern == TWO ? 2 : 0;
  const uint32_t spans_of = w->groups == 1 ? UINT32_MAX : w->group_blocks / (nibbles ? 4 : 2);
  __m512i lanes[4];
  CURTA_UNROLL for (uint32_t r = 0; r < rows; r++) lanes[r] = _mm512_setzero_si512();
  uint32_t g = 0, in_group = 0;
  for (uint32_t i = 0, at = 0; at < c->bytes; i++, at += 64) {
    const uint32_t left = c->bytes - at;
    CURTA_UNROLL for (uint32_t r = 0; r < rows; r++) {
      const uint8_t *from = row + (size_t)r * w->row_bytes + at;
      const uint8_t *s = scales + (size_t)r * w->groups + g;
      _mm_prefetch((const char *)(from + AHEAD), _MM_HINT_T0);
      if (left >= 64)
        lanes[r] = add_span(lanes[r], load512(from), c->q[i], nibbles, s, 4, 0, pattern);
      else
        lanes[r] = add_span(lanes[r], _mm512_maskz_loadu_epi8(((__mmask64)1 << left) - 1, from),
                            c->q[i], nibbles, s, c->groups - g, 1, pattern);
    }
    if (per_span)
      g += per_span;
    else if (pattern && ++in_group == spans_of) {
      in_group = 0;
      g++;
    }
  }
  const int64_t bias = nibbles ? 8 : 128;
  const int wide = pattern && !nibbles;
  __m512i biases[4];
  if (pattern)
    CURTA_UNROLL for (uint32_t r = 0; r < rows; r++) {
      biases[r] = group_sums(c, scales + (size_t)r * w->groups);
      if (!wide)
        lanes[r] = _mm512_sub_epi32(lanes[r], _mm512_slli_epi32(biases[r], 3));
    }
  add_up(lanes, rows, wide, totals);
  for (uint32_t r = 0; r < rows; r++) {
    if (wide)
      totals[r] -= bias * _mm512_reduce_add_epi32(biases[r]);
    else if (!pattern) // abs of the difference < 2^31
      totals[r] = (int32_t)(uint32_t)((uint64_t)totals[r] - (uint64_t)(bias * c->sum));
  }
}

typedef void some_rows(const chunk *c, uint32_t n, int64_t *totals);

#define ROWS(name, nibbles, rows, pattern)                                                         \
  CURTA_AVX512 static void name(const chunk *c, uint32_t n, int64_t *totals) {                     \
    dot(c, n, nibbles, rows, pattern, totals);                                                     \
  }
ROWS(nibbles_plain, 1, 1, PLAIN)
ROWS(nibbles_one, 1, 1, ONE)
ROWS(nibbles_two, 1, 1, TWO)
ROWS(nibbles_four, 1, 1, FOUR)
ROWS(bytes_plain, 0, 1, PLAIN)
ROWS(bytes_one, 0, 1, ONE)
ROWS(bytes_two, 0, 1, TWO)
ROWS(nibbles_plain4, 1, 4, PLAIN)
ROWS(nibbles_one4, 1, 4, ONE)
ROWS(nibbles_two4, 1, 4, TWO)
ROWS(nibbles_four4, 1, 4, FOUR)
ROWS(bytes_plain4, 0, 4, PLAIN)
ROWS(bytes_one4, 0, 4, ONE)
ROWS(bytes_two4, 0, 4, TWO)

/// How the groups of a tensor lie in spans, or -1 when they do not.
static int pattern_of(const curta_weight *w, int nibbles) {
  const uint32_t span = nibbles ? 4 : 2, blocks = w->group_blocks;
  if (!w->group_scales)
    return PLAIN;
  if (w->groups == 1 || blocks % span == 0)
    return blocks <= 8 ? ONE : -1;
  return span % blocks ? -1 : span / blocks == 4 ? FOUR : TWO;
}

int curta_vnni_takes_rows(const curta_weight *w, int nibbles) {
  return pattern_of(w, nibbles) >= 0;
}

CURTA_AVX512 static void begin_chunk(chunk *c, const curta_codes *x, uint32_t t, uint32_t block,
                                     uint32_t blocks, int nibbles) {
  const curta_weight *w = c->w;
  const int8_t *q = x->codes + (size_t)t * x->stride + (size_t)block * 32;
  const int16_t *sums = x->sums + (size_t)t * (x->stride / 32) + block;
  c->first = (size_t)block * (nibbles ? 16 : 32);
  c->bytes = blocks * (nibbles ? 16 : 32);
  c->sum = 0;
  for (uint32_t b = 0; b < blocks; b++)
    c->sum += sums[b];
  c->group = w->groups > 1 ? block / w->group_blocks : 0;
  c->groups = 0;
  if (w->group_scales)
    for (uint32_t b = 0; b < blocks; c->groups++) {
      int32_t sum = 0; // abs <= 8 * 4064
      for (uint32_t i = 0; i < w->group_blocks && b < blocks; i++)
        sum += sums[b++];
      c->sums[c->groups] = (int16_t)sum;
    }
  for (uint32_t g = c->groups; g < (c->groups + 31) / 32 * 32; g++)
    c->sums[g] = 0;
  int8_t *out = c->q[0];
  for (uint32_t b = 0; b < blocks; b++, q += 32) {
    int8_t *low = out + (nibbles ? b / 4 * 128 + b % 4 * 16 : b / 2 * 128 + b % 2 * 32);
    store128(low, load128(q));
    store128(low + (nibbles ? 64 : 16), load128(q + 16));
  }
  const __m128i zero = _mm_setzero_si128();
  for (uint32_t b = blocks; b % (nibbles ? 4 : 2); b++) {
    int8_t *low = out + (nibbles ? b / 4 * 128 + b % 4 * 16 : b / 2 * 128 + b % 2 * 32);
    store128(low, zero);
    store128(low + (nibbles ? 64 : 16), zero);
  }
}

void curta_vnni_rows(const curta_weight *w, const curta_codes *x, uint32_t t0, uint32_t t1,
                     uint32_t n0, uint32_t n1, int32_t *z, size_t z_stride, int nibbles) {
  static some_rows *const each[2][4][2] = {
      {{bytes_plain, bytes_plain4}, {bytes_one, bytes_one4}, {bytes_two, bytes_two4}},
      {{nibbles_plain, nibbles_plain4},
       {nibbles_one, nibbles_one4},
       {nibbles_two, nibbles_two4},
       {nibbles_four, nibbles_four4}}};
  some_rows *const *some = each[nibbles != 0][pattern_of(w, nibbles)];
  const uint32_t blocks = (w->columns + 31) / 32;
  const uint32_t most = SPANS * (nibbles ? 4 : 2); // blocks in a chunk
  const int64_t half = w->shift ? (int64_t)1 << (w->shift - 1) : 0;
  chunk c;
  c.w = w;
  for (uint32_t t = t0; t < t1; t++)
    for (uint32_t slab = n0; slab<n1; slab = blocks> most ? least(n1 - slab, SLAB) + slab : n1) {
      const uint32_t end = blocks > most ? least(n1 - slab, SLAB) + slab : n1;
      int64_t totals[SLAB];
      int32_t *out = z + (size_t)t * z_stride;
      for (uint32_t b = 0; b < blocks; b += most) {
        begin_chunk(&c, x, t, b, least(blocks - b, most), nibbles);
        for (uint32_t n = slab; n < end;) {
          const uint32_t rows = end - n < 4 || w->row_bytes > LONG_ROW ? 1 : 4;
          int64_t part[4];
          some[rows == 4](&c, n, part);
          for (uint32_t r = 0; r < rows; r++, n++) {
            const int64_t sum = part[r] + (b ? totals[n - slab] : 0);
            if (b + most < blocks)
              totals[n - slab] = sum;
            else
              out[n - n0] = (int32_t)((sum * w->mantissas[n] + half) >> w->shift);
          }
        }
      }
    }
}

#endif
