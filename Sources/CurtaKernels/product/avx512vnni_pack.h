// What AVX-512 VNNI packs for products of many tokens: panels of weights, tiles of tokens, and what
// their biases correct. The layout and its proofs are in avx512vnni.c.
// SPDX-License-Identifier: Apache-2.0

#ifndef CURTA_AVX512VNNI_PACK_H
#define CURTA_AVX512VNNI_PACK_H

#include "../kernels.h"
#include "avx512vnni_sixes.h"
#include "tiled.h"

enum {
  PANEL = 16,        // rows
  CHUNK = 24,        // blocks of 32 columns, an even number
  SCALED_CHUNK = 16, // the same of bytes with scales
  TILE = 12,         // tokens
  SLAB = 1 << 17,    // sums that are in the cache together, of at least 512 rows
  WIDE_TOKENS = 24,  // that share a packed panel where sums are wider than int32
  WIDE_SLAB = 4,
};

/// A panel of a chunk.
typedef struct {
  uint8_t codes[CHUNK * 8][PANEL * 4]; // [4 columns][row][4]
  int32_t scales[CHUNK][PANEL];        // of each part
} packed_panel;

/// What is packed, in the caller's memory, tokens after it.
typedef union {
  packed_panel panels[2];
  struct {
    packed_panel panel;
    int32_t uppers[WIDE_SLAB][WIDE_TOKENS][PANEL]; // upper parts of wide sums
  } wide;
} packed;

/// A tile of tokens in it.
typedef struct {
  int32_t q[CHUNK * 8][TILE];    // codes, [4 columns][token]
  union {                        // -bias * (sum of q)
    int32_t parts[TILE][CHUNK];  // of each part; of each block when masked; with scales
    int32_t blocks[CHUNK][TILE]; // of each block, without scales
  } corrections;
} packed_tile;

_Static_assert(sizeof(packed) + (CURTA_PRODUCT_TOKENS / TILE) * sizeof(packed_tile) ==
                   CURTA_PRODUCT_SCRATCH(CURTA_PRODUCT_TOKENS),
               "room for what is packed");

/// A chunk of columns for the tokens and panels of a slab.
typedef struct {
  const curta_weight *w;
  const curta_codes *x;
  uint32_t first;  // block
  uint32_t blocks; // 1 ... CHUNK
  // Parts of one scale: groups, or blocks of nibbles.
  uint32_t parts;
  uint32_t ends[CHUNK];   // in blocks of the panel
  uint32_t groups[CHUNK]; // that each part is in
  uint32_t places[CHUNK]; // of the panel's blocks, from the chunk's first on
  uint32_t starts[CHUNK]; // of each part, in corrections
  uint32_t survivors;     // blocks of the panel
  packed_tile *tiles;
  // Of the panel after the packed one.
  const uint8_t *next;
  size_t next_row; // bytes from row to row
  size_t next_bytes;
  const uint8_t *next_scales; // or NULL
} chunk;

static uint32_t least(uint32_t a, uint32_t b) { return a < b ? a : b; }

/// The surviving blocks of the strip that row n is in, as parts of one block each; returns which of
/// the strip's is the first.
static uint32_t choose_blocks(chunk *c, uint32_t n) {
  const curta_weight *w = c->w;
  const uint32_t strip = n / CURTA_STRIP_ROWS, start = w->mask_starts[strip];
  const uint32_t survivors = w->mask_starts[strip + 1] - start;
  const uint16_t *blocks = w->mask_blocks + start;
  uint32_t low = 0;
  for (uint32_t high = survivors; low < high;) {
    const uint32_t middle = low + (high - low) / 2;
    if (blocks[middle] < c->first)
      low = middle + 1;
    else
      high = middle;
  }
  c->parts = 0;
  for (uint32_t i = low; i < survivors && blocks[i] < c->first + c->blocks; i++) {
    c->places[c->parts] = c->starts[c->parts] = blocks[i] - c->first;
    c->groups[c->parts] = i - low;
    c->parts++;
    c->ends[c->parts - 1] = c->parts;
  }
  return low;
}

/// Of 16 rows 64 bytes from `at` on: in out[j] dword j of each row.
CURTA_AVX512_INLINE void transpose_lines(const uint8_t *const *row, size_t at, __m512i *out) {
  __m512i x[16];
  CURTA_UNROLL for (uint32_t g = 0; g < 4; g++) { // rows 4 g ... 4 g + 3
    const __m512i a = load512(row[4 * g] + at), b = load512(row[4 * g + 1] + at);
    const __m512i c = load512(row[4 * g + 2] + at), d = load512(row[4 * g + 3] + at);
    const __m512i ab = _mm512_unpacklo_epi32(a, b), cd = _mm512_unpacklo_epi32(c, d);
    const __m512i ef = _mm512_unpackhi_epi32(a, b), gh = _mm512_unpackhi_epi32(c, d);
    x[4 * g] = _mm512_unpacklo_epi64(ab, cd); // in part i of 128 bits the dword 4 i of each
    x[4 * g + 1] = _mm512_unpackhi_epi64(ab, cd);
    x[4 * g + 2] = _mm512_unpacklo_epi64(ef, gh);
    x[4 * g + 3] = _mm512_unpackhi_epi64(ef, gh);
  }
  CURTA_UNROLL for (uint32_t j = 0; j < 4; j++) {
    const __m512i a = _mm512_shuffle_i32x4(x[j], x[4 + j], 0x88);
    const __m512i b = _mm512_shuffle_i32x4(x[8 + j], x[12 + j], 0x88);
    const __m512i c = _mm512_shuffle_i32x4(x[j], x[4 + j], 0xDD);
    const __m512i d = _mm512_shuffle_i32x4(x[8 + j], x[12 + j], 0xDD);
    out[j] = _mm512_shuffle_i32x4(a, b, 0x88);
    out[4 + j] = _mm512_shuffle_i32x4(c, d, 0x88);
    out[8 + j] = _mm512_shuffle_i32x4(a, b, 0xDD);
    out[12 + j] = _mm512_shuffle_i32x4(c, d, 0xDD);
  }
}

/// The codes of a block of sixes, of which x has the six dwords of each row.
CURTA_AVX512_INLINE void store_sixes(const __m512i *x, uint8_t (*out)[PANEL * 4]) {
  CURTA_UNROLL for (int j = 0; j < 4; j++) {
    const __m512i two = x[4 + j % 2], four = x[j];
    store512(out[j], six_of(four, _mm512_slli_epi16(two, j < 2 ? 4 : 2)));
    store512(out[4 + j], six_of(_mm512_srli_epi16(four, 4), _mm512_srli_epi16(two, j < 2 ? 0 : 2)));
  }
}

/// Packs the chunk of the rows n ... n + 15; past `end` the last row is repeated.
CURTA_AVX512 static void pack(chunk *c, packed_panel *panel, uint32_t n, uint32_t end) {
  const curta_weight *w = c->w;
  const int nibbles = w->kind == CURTA_WEIGHT_NIBBLES, sixes = w->kind == CURTA_WEIGHT_SIXES;
  const size_t block_bytes = curta_block_bytes(w->kind);
  const uint8_t *row[PANEL], *scales[PANEL];
  size_t row_blocks = 0, first = 0, top = 0;
  if (w->mask_starts) {
    const uint32_t strip = n / CURTA_STRIP_ROWS;
    top = (size_t)strip * CURTA_STRIP_ROWS;
    row_blocks = w->mask_starts[strip + 1] - w->mask_starts[strip];
    first = (size_t)w->mask_starts[strip] * CURTA_STRIP_ROWS + choose_blocks(c, n);
  }
  for (uint32_t r = 0; r < PANEL; r++) {
    const size_t at = least(n + r, end - 1);
    const size_t block = (at - top) * row_blocks + first; // of a masked tensor
    const size_t byte =
        w->mask_starts ? block * block_bytes : at * w->row_bytes + c->first * block_bytes;
    row[r] = (const uint8_t *)w->codes + byte;
    scales[r] = w->group_scales;
    if (scales[r])
      scales[r] += w->mask_starts ? block : at * w->groups + c->groups[0];
  }
  const uint32_t blocks = c->survivors = c->parts ? c->ends[c->parts - 1] : 0;
  c->next_bytes = blocks * block_bytes;
  c->next_row = w->mask_starts ? row_blocks * block_bytes : w->row_bytes;
  c->next = row[0] + PANEL * c->next_row;
  c->next_scales = scales[0] && !w->mask_starts ? scales[0] + (size_t)PANEL * w->groups : 0;
  const __m512i low = _mm512_set1_epi8(15), flip = _mm512_set1_epi8(-128);
  uint32_t b = 0;
  // A line of sixes has 16 bytes of the block after two.
  for (const uint32_t line = nibbles ? 4 : 2; blocks - b >= line + (sixes ? 1 : 0); b += line) {
    uint8_t(*out)[PANEL * 4] = &panel->codes[b * 8];
    __m512i x[16];
    transpose_lines(row, b * block_bytes, x);
    if (sixes) {
      store_sixes(x, out);
      store_sixes(x + 6, out + 8);
      continue;
    }
    CURTA_UNROLL for (uint32_t j = 0; j < 16; j++) {
      if (nibbles) {
        store512(out[j / 4 * 8 + j % 4], _mm512_and_si512(x[j], low));
        store512(out[j / 4 * 8 + 4 + j % 4], _mm512_and_si512(_mm512_srli_epi16(x[j], 4), low));
      } else
        store512(out[j], _mm512_xor_si512(x[j], flip));
    }
  }
  for (; b < blocks; b++) {
    uint8_t(*out)[PANEL * 4] = &panel->codes[b * 8];
    __m512i x[8];
    if (sixes) {
      transpose(row, (size_t)b * 24, 16, x);
      transpose(row, (size_t)b * 24 + 16, 8, x + 4);
      store_sixes(x, out);
    } else if (nibbles) {
      transpose(row, (size_t)b * 16, 16, x);
      for (int j = 0; j < 4; j++) {
        store512(out[j], _mm512_and_si512(x[j], low));
        store512(out[4 + j], _mm512_and_si512(_mm512_srli_epi16(x[j], 4), low));
      }
    } else {
      for (uint32_t half = 0; half < 2; half++) {
        transpose(row, (size_t)b * 32 + half * 16, 16, x);
        for (uint32_t j = 0; j < 4; j++)
          store512(out[4 * half + j], _mm512_xor_si512(x[j], flip));
      }
    }
  }
  if (!w->group_scales || !blocks)
    return;
  const __m512i byte = _mm512_set1_epi32(255);
  __m512i x[4];
  for (uint32_t part = 0; part < c->parts; part++) {
    const uint32_t g = c->groups[part] - c->groups[0];
    if (g % 16 == 0 && (part == 0 || c->groups[part] != c->groups[part - 1]))
      transpose(scales, g, c->groups[c->parts - 1] - c->groups[part] + 1, x);
    const __m128i down = _mm_cvtsi32_si128((int32_t)(8 * (g % 4)));
    store512(panel->scales[part], _mm512_and_si512(_mm512_srl_epi32(x[g / 4 % 4], down), byte));
  }
}

/// After the last panels of a chunk come those of the next one, from row n on.
static void next_chunk(chunk *c, uint32_t n) {
  const size_t byte = (c->first + c->blocks) * curta_block_bytes(c->w->kind);
  c->next = (const uint8_t *)c->w->codes + (size_t)n * c->w->row_bytes + byte;
  if (c->next_scales) // of the group that the chunk ends with, or of the one after it
    c->next_scales = c->w->group_scales + (size_t)n * c->w->groups + c->groups[c->parts - 1];
}

/// The next panels come from memory while the tiles of these run: with each tile the share of them
/// that its tokens, from the i-th on, are of all. At once they would keep these waiting.
static void fetch_next(const chunk *c, uint32_t rows, uint32_t i, uint32_t there, uint32_t tokens) {
  const uint32_t end = (i + there) * rows / tokens;
  for (uint32_t r = i * rows / tokens; r < end; r++) {
    for (size_t at = 0; at < c->next_bytes; at += 64)
      __builtin_prefetch(c->next + r * c->next_row + at, 0, 2);
    if (c->next_scales)
      __builtin_prefetch(c->next_scales + (size_t)r * c->w->groups, 0, 2);
  }
}

/// Of four tokens element j of each to out[j], from the i-th token on.
CURTA_AVX512_INLINE void turn_four(const __m512i *of, int32_t (*out)[TILE], uint32_t i,
                                   int elements) {
  const __m512i ab0 = _mm512_unpacklo_epi32(of[0], of[1]),
                ab1 = _mm512_unpackhi_epi32(of[0], of[1]);
  const __m512i de0 = _mm512_unpacklo_epi32(of[2], of[3]),
                de1 = _mm512_unpackhi_epi32(of[2], of[3]);
  const __m512i x[4] = {_mm512_unpacklo_epi64(ab0, de0), _mm512_unpackhi_epi64(ab0, de0),
                        _mm512_unpacklo_epi64(ab1, de1), _mm512_unpackhi_epi64(ab1, de1)};
  CURTA_UNROLL for (int j = 0; j < 4; j++) {
    store128(&out[j][i], _mm512_castsi512_si128(x[j]));
    store128(&out[4 + j][i], _mm512_extracti32x4_epi32(x[j], 1));
    if (elements == 16) {
      store128(&out[8 + j][i], _mm512_extracti32x4_epi32(x[j], 2));
      store128(&out[12 + j][i], _mm512_extracti32x4_epi32(x[j], 3));
    }
  }
}

/// Packs up to four tokens; the last one is repeated. `factor`: -bias, without scales.
CURTA_AVX512_INLINE void pack_tokens(chunk *c, uint32_t t, uint32_t i, uint32_t tokens,
                                     __m512i factor) {
  packed_tile *tile = &c->tiles[i / TILE];
  size_t row[4];
  for (uint32_t k = 0; k < 4; k++)
    row[k] = (size_t)(t + i + least(k, tokens - 1)) * c->x->stride + (size_t)c->first * 32;
  __m512i x[4];
  // Rows of codes are padded to 64.
  for (uint32_t at = 0; at < c->blocks * 32; at += 64) {
    CURTA_UNROLL for (int k = 0; k < 4; k++) x[k] = load512(c->x->codes + row[k] + at);
    turn_four(x, &tile->q[at / 4], i % TILE, 16);
  }
  if (c->w->group_scales)
    return;
  const __mmask32 there = ((__mmask32)1 << c->blocks) - 1;
  CURTA_UNROLL for (int half = 0; half < 2; half++) {
    CURTA_UNROLL for (int k = 0; k < 4; k++) {
      const __m512i sums = _mm512_maskz_loadu_epi16(there, c->x->sums + row[k] / 32);
      x[k] = _mm512_mullo_epi32(_mm512_cvtepi16_epi32(half ? _mm512_extracti64x4_epi64(sums, 1)
                                                           : _mm512_castsi512_si256(sums)),
                                factor);
    }
    turn_four(x, &tile->corrections.blocks[16 * half], i % TILE, half ? 8 : 16);
  }
}

/// The parts of a chunk and what their lanes begin at.
CURTA_AVX512 static void begin_chunk(chunk *c, uint32_t first, uint32_t blocks, uint32_t t,
                                     uint32_t tokens) {
  const curta_weight *w = c->w;
  const int nibbles = w->kind == CURTA_WEIGHT_NIBBLES;
  const int32_t bias = nibbles ? 8 : w->kind == CURTA_WEIGHT_SIXES ? 32 : 128;
  c->first = first;
  c->blocks = blocks;
  c->parts = 0;
  for (uint32_t b = 0; b < blocks;) {
    const uint32_t group = w->groups > 1 ? (first + b) / w->group_blocks : 0;
    const uint32_t end = group + 1 < w->groups ? (group + 1) * w->group_blocks - first : blocks;
    c->groups[c->parts] = group;
    c->starts[c->parts] = c->parts;
    b = w->mask_starts || (w->group_scales && nibbles) ? b + 1
        : w->group_scales                              ? least(end, blocks)
                                                       : blocks;
    c->ends[c->parts++] = b;
  }
  for (uint32_t b = 0; b < blocks; b++)
    c->places[b] = b;
  for (uint32_t g = c->parts; g < CHUNK; g++)
    c->ends[g] = c->ends[g - 1];
  const __mmask32 there = ((__mmask32)1 << blocks) - 1;
  const __m512i factor = _mm512_set1_epi32(-bias);
  const __m512i one = _mm512_set1_epi32(1);
  const __m512i order = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const __m512i after = load512(c->ends), ends = _mm512_sub_epi32(after, one);
  const __m512i begins =
      _mm512_maskz_permutexvar_epi32(0xFFFE, _mm512_sub_epi32(order, one), after);
  for (uint32_t i = 0; i < tokens && w->group_scales; i++) {
    const int16_t *of = c->x->sums + (size_t)(t + i) * (c->x->stride / 32) + first;
    const __m512i sums = _mm512_maskz_loadu_epi16(there, of);
    packed_tile *tile = &c->tiles[i / TILE];
    int32_t *corrections = tile->corrections.parts[i % TILE];
    const __m512i own =
        _mm512_mullo_epi32(_mm512_cvtepi16_epi32(_mm512_castsi512_si256(sums)), factor);
    if (c->parts == blocks) {
      const __m512i upper = _mm512_cvtepi16_epi32(_mm512_extracti64x4_epi64(sums, 1));
      store512(corrections, own);
      store256(corrections + 16, _mm512_castsi512_si256(_mm512_mullo_epi32(upper, factor)));
      continue;
    }
    // Of each of up to 16 blocks with all before it; a part has those of its last block less those
    // before it.
    __m512i all = own;
    CURTA_UNROLL for (int by = 1; by < 16; by *= 2) {
      const __m512i from = _mm512_sub_epi32(order, _mm512_set1_epi32(by));
      all = _mm512_add_epi32(all,
                             _mm512_maskz_permutexvar_epi32((__mmask16)(0xFFFFu << by), from, all));
    }
    const __m512i before = _mm512_sub_epi32(all, own);
    store512(corrections, _mm512_sub_epi32(_mm512_permutexvar_epi32(ends, all),
                                           _mm512_permutexvar_epi32(begins, before)));
  }
  for (uint32_t i = 0; i < tokens; i += 4)
    pack_tokens(c, t, i, least(tokens - i, 4), factor);
}

#endif
