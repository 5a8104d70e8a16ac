// Packs weights into the tiles of AMX.
// SPDX-License-Identifier: Apache-2.0
//
// Group scales are multiplied in here, so that the tiles' sums go over groups: a code times a scale
// is two numbers of 8 bits. Of nibbles c * s = c * (s mod 16) + 16 * c * floor(s / 16), abs <= 8 *
// 15 = 120 both. Of bytes c * s = first + 256 * second, first >= -128 the signed lower byte,
// abs(second) <= floor((127 * 255 + 128) / 256) = 127.

#include "../kernels.h"
#include "amx.h"
#include "masked.h"

#if defined(__x86_64__)
#include "avx512vnni_sixes.h"

enum { NONE = -1 }; // no block

/// 64 columns in which blocks are stored.
typedef struct {
  uint32_t column;  // the first
  int32_t block[2]; // of the stored ones of a row, or NONE
} place;

static uint32_t least(uint32_t a, uint32_t b) { return a < b ? a : b; }

static uint32_t block_place(const curta_amx_panel *p, uint32_t block) {
  return p->places ? p->places[block] : block;
}

/// The next columns that have a stored block; of none left a place without blocks.
static place next_place(curta_amx_panel *p) {
  place at = {0, {NONE, NONE}};
  if (p->next < p->blocks)
    at.column = block_place(p, p->next) / 2 * 64;
  for (; p->next < p->blocks && block_place(p, p->next) / 2 * 64 == at.column; p->next++)
    at.block[block_place(p, p->next) % 2] = (int32_t)p->next;
  return at;
}

/// The scales of a stored block's rows.
CURTA_AVX512_INLINE __m512i block_scales(curta_amx_panel *p, uint32_t block) {
  const uint32_t groups = p->w.groups;
  const uint32_t g = groups > 1 ? least(block / p->w.group_blocks, groups - 1) : 0;
  if (p->turned != g / 16) {
    __m512i x[4];
    p->turned = g / 16;
    transpose(p->scales, p->turned * 16, groups - p->turned * 16, x);
    for (int j = 0; j < 4; j++)
      store512(p->turned_scales[j], x[j]);
  }
  const __m512i four = load512(p->turned_scales[g / 4 % 4]);
  return _mm512_and_si512(_mm512_srl_epi32(four, _mm_cvtsi32_si128((int32_t)(g % 4 * 8))),
                          _mm512_set1_epi32(255));
}

/// Two numbers below 2^15 of each int32 lane in its int16 halves.
CURTA_AVX512_INLINE __m512i twice(__m512i x) {
  return _mm512_or_si512(x, _mm512_slli_epi32(x, 16));
}

/// Splits codes times scales into planes.
CURTA_AVX512_INLINE void store_planes(const __m512i *x, __m512i scale, int nibbles, int8_t *first,
                                      int8_t *second) {
  const __m512i s = twice(scale);
  if (nibbles) { // u = c + 8, u * 15 < 256
    const __m512i low = _mm512_and_si512(s, _mm512_set1_epi16(15)), high = _mm512_srli_epi16(s, 4);
    const __m512i low8 = _mm512_mullo_epi16(low, _mm512_set1_epi16(0x0808));
    const __m512i high8 = _mm512_mullo_epi16(high, _mm512_set1_epi16(0x0808));
    CURTA_UNROLL for (int j = 0; j < 8; j++) {
      store512(first + 64 * j, _mm512_sub_epi8(_mm512_mullo_epi16(x[j], low), low8));
      store512(second + 64 * j, _mm512_sub_epi8(_mm512_mullo_epi16(x[j], high), high8));
    }
  } else {
    const __m512i odd_scale = _mm512_slli_epi16(s, 8), round = _mm512_set1_epi16(128);
    const __mmask64 odds = 0xAAAAAAAAAAAAAAAA;
    CURTA_UNROLL for (int j = 0; j < 8; j++) {
      const __m512i even = _mm512_maddubs_epi16(s, x[j]),
                    odd = _mm512_maddubs_epi16(odd_scale, x[j]);
      const __m512i above = _mm512_srli_epi16(_mm512_add_epi16(even, round), 8);
      store512(first + 64 * j, _mm512_mask_blend_epi8(odds, even, _mm512_slli_epi16(odd, 8)));
      store512(second + 64 * j, _mm512_mask_blend_epi8(odds, above, _mm512_add_epi16(odd, round)));
    }
  }
}

/// Packs a place of 16 rows: into `first`, and where they have scales, into `second`.
CURTA_AVX512 static void pack(curta_amx_panel *p, const uint8_t *const *codes, place at,
                              int8_t *first, int8_t *second) {
  for (int half = 0; half < 2; half++, first += 512, second += 512) {
    if (at.block[half] == NONE) {
      for (int j = 0; j < 8; j++) {
        store512(first + 64 * j, _mm512_setzero_si512());
        if (p->kind == CURTA_AMX_PLANES)
          store512(second + 64 * j, _mm512_setzero_si512());
      }
      continue;
    }
    const size_t block = (size_t)at.block[half];
    const int nibbles = p->w.kind == CURTA_WEIGHT_NIBBLES;
    uint8_t bias = nibbles ? 8 : 0;
    __m512i x[8];
    if (nibbles) {
      const __m512i low = _mm512_set1_epi8(15);
      transpose(codes, block * 16, 16, x);
      CURTA_UNROLL for (int j = 0; j < 4; j++) {
        x[4 + j] = _mm512_and_si512(_mm512_srli_epi16(x[j], 4), low);
        x[j] = _mm512_and_si512(x[j], low);
      }
    } else if (p->w.kind == CURTA_WEIGHT_SIXES) {
      __m512i two[4];
      bias = 32;
      transpose(codes, block * 24, 16, x);
      transpose(codes, block * 24 + 16, 8, two);
      CURTA_UNROLL for (int j = 0; j < 4; j++) {
        const __m512i high = _mm512_srli_epi16(two[j % 2], j < 2 ? 0 : 2);
        x[4 + j] = six_of(_mm512_srli_epi16(x[j], 4), high);
        x[j] = six_of(x[j], _mm512_slli_epi16(two[j % 2], j < 2 ? 4 : 2));
      }
    } else {
      transpose(codes, block * 32, 16, x);
      transpose(codes, block * 32 + 16, 16, x + 4);
    }
    if (bias && (p->kind != CURTA_AMX_PLANES || !nibbles)) {
      const __m512i much = _mm512_set1_epi8((char)bias);
      CURTA_UNROLL for (int j = 0; j < 8; j++) x[j] = _mm512_sub_epi8(x[j], much);
    }
    if (p->kind == CURTA_AMX_PLANES)
      store_planes(x, block_scales(p, (uint32_t)block), nibbles, first, second);
    else
      CURTA_UNROLL for (int j = 0; j < 8; j++) store512(first + 64 * j, x[j]);
  }
}

void curta_amx_begin_panel(curta_amx_panel *p, const curta_weight *w, uint32_t n, uint32_t n1) {
  enum { SIDE = CURTA_AMX_SIDE };
  uint32_t first = n;
  p->w = *w;
  p->places = 0;
  p->kind = w->group_scales                    ? CURTA_AMX_PLANES
            : w->mask_starts || n1 - n <= SIDE ? CURTA_AMX_HALVES
                                               : CURTA_AMX_ROWS;
  p->row = n;
  p->rows = least(n1 - n, p->kind == CURTA_AMX_ROWS ? 2 * SIDE : SIDE);
  if (w->mask_starts) { // a panel stays in one strip
    const uint32_t strip = n / CURTA_STRIP_ROWS;
    first = n % CURTA_STRIP_ROWS;
    p->rows = least(p->rows, CURTA_STRIP_ROWS - first);
    p->places = w->mask_blocks + w->mask_starts[strip];
    p->w = curta_strip(w, strip);
  }
  p->mantissas = p->w.mantissas + first;
  p->blocks = (p->w.columns + 31) / 32;
  p->next = 0;
  p->turned = UINT32_MAX;
  for (uint32_t r = 0; r < SIDE; r++) // the last row is repeated
    for (uint32_t i = 0; i < 2; i++) {
      const size_t at = first + least(p->kind == CURTA_AMX_ROWS ? i * SIDE + r : r, p->rows - 1);
      p->codes[i][r] = (const uint8_t *)p->w.codes + at * p->w.row_bytes;
      if (p->kind == CURTA_AMX_PLANES)
        p->scales[r] = p->w.group_scales + at * p->w.groups;
    }
}

void curta_amx_begin_chunk(const curta_amx_panel *p, curta_amx_chunk *c) {
  c->steps = 0;
  c->begins = p->next == 0;
  c->ends = p->next == p->blocks;
  c->kind = p->kind;
  c->up = p->kind != CURTA_AMX_PLANES ? 0 : p->w.kind == CURTA_WEIGHT_NIBBLES ? 4 : 8;
  c->row = p->row;
  c->rows = p->rows;
  c->mantissas = p->mantissas;
}

void curta_amx_pack_step(curta_amx_panel *p, curta_amx_chunk *c) {
  if (p->next == p->blocks)
    return;
  curta_amx_step *to = &c->step[c->steps];
  const place at = next_place(p);
  place other = at;
  pack(p, p->codes[0], at, to->tile[0][0], to->tile[1][0]);
  if (p->kind == CURTA_AMX_HALVES)
    other = next_place(p);
  if (p->kind != CURTA_AMX_PLANES)
    pack(p, p->codes[1], other, to->tile[1][0], to->tile[1][0]);
  c->columns[c->steps][0] = at.column;
  c->columns[c->steps][1] = other.column;
  c->steps++;
  c->ends = p->next == p->blocks;
}

#endif
