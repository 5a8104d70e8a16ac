// Products of grid tensors with AMX, the tiles of Sapphire Rapids, for many tokens.
// SPDX-License-Identifier: Apache-2.0
//
// TDPBSSD multiplies 64 codes of 16 tokens, as they lie in memory, with a tile of weights. Four of
// them, a step, take 32 tokens and two tiles of weights: see amx.h. It runs beside the other
// instructions: between steps the sums of the tokens before go to where they belong, and the next
// weights are packed.
//
// Proof that no lane overflows: a tile's numbers are codes, abs <= 127, or planes, which are no
// less than -128 and no more than 127 (amx_weights.c). So a lane's abs <= 128 * 127 * 2^17 < 2^31
// over a whole row, and times a mantissa and 256 it is below 2^55.

#include "amx.h"
#include "../kernels.h"

#if defined(__x86_64__)
#include "../avx512.h"

#define CURTA_AMX __attribute__((target("amx-tile,amx-int8")))

enum {
  SIDE = CURTA_AMX_SIDE,
  BOTH = 2 * SIDE, // tokens of a step
  FEWEST = 4,      // steps that there is always room for, twice
};

/// Sums of 32 tokens with two tiles of weights: [tile of tokens][tile of weights][token][row].
typedef struct {
  int32_t of[2][2][SIDE][SIDE];
} square;

_Static_assert(CURTA_PRODUCT_SCRATCH(1) >= sizeof(square) + 2 * FEWEST * sizeof(curta_amx_step) &&
                   CURTA_PRODUCT_SCRATCH(36) - CURTA_PRODUCT_SCRATCH(12) >= sizeof(square),
               "room for what is packed");

/// A product of up to CURTA_PRODUCT_TOKENS tokens.
typedef struct {
  const int8_t *q; // [tokens][stride]
  size_t stride;
  uint32_t tokens;
  int32_t *z; // of the first token and row n0
  size_t z_stride;
  uint32_t n0, n1, shift;
  square *squares; // one for 32 tokens each while chunks are added, else one for all

  // What is packed meanwhile.
  curta_amx_panel panel;
  curta_amx_chunk *next; // or NULL
  uint32_t most;         // steps of a chunk
  uint32_t pace, passed; // a step is packed for so many that run

  // The sums that are brought to z meanwhile.
  const square *sums;
  uint32_t from, t, end, share; // its first token, that which is next, after the last; a step's
  curta_amx_chunk of;
} job;

static uint32_t least(uint32_t a, uint32_t b) { return a < b ? a : b; }

/// Where the tile of the tokens from t on begins; the last one has tokens of the one before too.
static uint32_t tile_token(const job *j, uint32_t t) {
  return j->tokens < SIDE ? 0 : least(t, j->tokens - SIDE);
}

// MARK: - Sums

/// z = round(S * m, shift) of `count` tokens for up to 16 rows; S is a sum, or made of two.
CURTA_AVX512_INLINE void finish(const job *j, const int32_t (*sums)[SIDE], uint32_t count,
                                const uint16_t *mantissas, uint32_t rows, int two, int32_t *z) {
  const __mmask16 there = (__mmask16)((1u << rows) - 1), odds = 0xAAAA;
  const __m512i half = _mm512_set1_epi64(j->shift ? (int64_t)1 << (j->shift - 1) : 0);
  const __m512i down = _mm512_set1_epi64((int64_t)j->shift);
  const __m512i m = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(there, mantissas));
  const __m512i m2 = _mm512_sll_epi32(m, _mm_cvtsi32_si128((int32_t)j->of.up));
  const __m512i m_odd = _mm512_srli_epi64(m, 32), m2_odd = _mm512_srli_epi64(m2, 32);
  for (uint32_t k = 0; k < count; k++, z += j->z_stride) {
    const __m512i x = load512(sums[k]);
    __m512i even = _mm512_add_epi64(_mm512_mul_epi32(x, m), half);
    __m512i odd = _mm512_add_epi64(_mm512_mul_epi32(_mm512_srli_epi64(x, 32), m_odd), half);
    if (two) {
      const __m512i y = load512(sums[SIDE + k]);
      even = _mm512_add_epi64(even, _mm512_mul_epi32(y, m2));
      odd = _mm512_add_epi64(odd, _mm512_mul_epi32(_mm512_srli_epi64(y, 32), m2_odd));
    }
    odd = _mm512_slli_epi64(_mm512_srav_epi64(odd, down), 32);
    even = _mm512_srav_epi64(even, down);
    _mm512_mask_storeu_epi32(z, there, _mm512_mask_blend_epi32(odds, even, odd));
  }
}

/// Brings the sums of up to `count` tokens that wait to z.
CURTA_AVX512 static void deliver(job *j, uint32_t count) {
  const curta_amx_chunk *of = &j->of;
  for (uint32_t tokens; count > 0 && j->t < j->end; j->t += tokens, count -= tokens) {
    const uint32_t tile = (j->t - j->from) / SIDE, first = j->from + tile * SIDE;
    const int32_t(*sums)[SIDE] = j->sums->of[tile][0] + (j->t - tile_token(j, first));
    int32_t *z = j->z + j->t * j->z_stride + (of->row - j->n0);
    tokens = least(count, least(first + SIDE, j->end) - j->t);
    if (of->kind == CURTA_AMX_ROWS) {
      finish(j, sums, tokens, of->mantissas, SIDE, 0, z);
      finish(j, sums + SIDE, tokens, of->mantissas + SIDE, of->rows - SIDE, 0, z + SIDE);
    } else {
      finish(j, sums, tokens, of->mantissas, of->rows, 1, z);
    }
  }
}

// MARK: - Tiles

/// Tiles 0 to 3: sums; 4, 5: tokens; 6, 7: weights.
CURTA_AMX static void configure(uint32_t tokens) {
  struct {
    uint8_t palette, start, none[14];
    uint16_t bytes[16];
    uint8_t rows[16];
  } of = {1, 0, {0}, {0}, {0}};
  for (int i = 0; i < 8; i++) {
    of.bytes[i] = 64;
    of.rows[i] = (uint8_t)(i < 6 ? tokens : SIDE);
  }
  __asm__ volatile("" ::: "memory"); // GCC does not know what the instruction reads
  _tile_loadconfig(&of);
}

CURTA_AMX static void release(void) { _tile_release(); }

/// What goes on between two steps.
static void meanwhile(job *j) {
  deliver(j, j->share);
  if (j->next && ++j->passed >= j->pace && j->next->steps < j->most) {
    j->passed = 0;
    curta_amx_pack_step(&j->panel, j->next);
  }
}

/// Adds the chunk's products with up to 32 tokens from t on. At times, when others have a share of
/// the core, each write of a tile takes 35 cycles (Emerald Rapids), more than TDPBSSD's 16: no tile
/// is loaded twice.
CURTA_AMX static void multiply(job *j, const curta_amx_chunk *c, uint32_t t, square *sums) {
  const int8_t *q0 = j->q + tile_token(j, t) * j->stride;
  const int8_t *q1 = j->q + tile_token(j, t + SIDE) * j->stride;
  const int both = t + SIDE < j->tokens;
  const size_t stride = j->stride;
  __asm__ volatile("" ::: "memory");
  if (c->begins) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  } else {
    _tile_loadd(0, sums->of[0][0], 64);
    _tile_loadd(1, sums->of[0][1], 64);
    _tile_loadd(2, sums->of[1][0], 64);
    _tile_loadd(3, sums->of[1][1], 64);
  }
  for (uint32_t s = 0; s < c->steps; s++) {
    const size_t a = c->columns[s][0], b = c->columns[s][1];
    _tile_loadd(4, q0 + a, stride);
    _tile_loadd(6, c->step[s].tile[0], 64);
    _tile_dpbssd(0, 4, 6);
    _tile_loadd(7, c->step[s].tile[1], 64);
    if (a != b)
      _tile_loadd(4, q0 + b, stride);
    _tile_dpbssd(1, 4, 7);
    if (both) {
      _tile_loadd(5, q1 + a, stride);
      _tile_dpbssd(2, 5, 6);
      if (a != b)
        _tile_loadd(5, q1 + b, stride);
      _tile_dpbssd(3, 5, 7);
    }
    meanwhile(j);
  }
  deliver(j, BOTH); // the square may be the same
  _tile_stored(0, sums->of[0][0], 64);
  _tile_stored(1, sums->of[0][1], 64);
  if (both) {
    _tile_stored(2, sums->of[1][0], 64);
    _tile_stored(3, sums->of[1][1], 64);
  }
}

/// The chunk's products with all tokens.
static void run_chunk(job *j, const curta_amx_chunk *c) {
  const uint32_t squares = (j->tokens + BOTH - 1) / BOTH;
  j->pace = squares * c->steps / j->most;
  j->passed = 0;
  for (uint32_t t = 0; t < j->tokens; t += BOTH) {
    square *sums = c->begins && c->ends ? j->squares : &j->squares[t / BOTH];
    j->share = c->steps ? (j->end - j->t + c->steps - 1) / c->steps : 0;
    multiply(j, c, t, sums);
    if (c->ends) {
      j->sums = sums;
      j->of = *c;
      j->from = j->t = t;
      j->end = least(t + BOTH, j->tokens);
    }
  }
}

/// The chunk after those that are packed, into c; NULL when there is none.
static curta_amx_chunk *begin_next(job *j, const curta_weight *w, curta_amx_chunk *c) {
  if (j->panel.next == j->panel.blocks) {
    const uint32_t n = j->panel.row + j->panel.rows;
    if (n == j->n1)
      return 0;
    curta_amx_begin_panel(&j->panel, w, n, j->n1);
  }
  curta_amx_begin_chunk(&j->panel, c);
  return c;
}

/// Packs what is left of the chunk.
static void pack_rest(job *j) {
  while (j->next && !j->next->ends && j->next->steps < j->most)
    curta_amx_pack_step(&j->panel, j->next);
}

/// The product of a grid tensor without offsets.
static void product_tiles(const curta_weight *w, const curta_codes *x, uint32_t t0, uint32_t t1,
                          uint32_t n0, uint32_t n1, int32_t *z, size_t z_stride, void *scratch) {
  job j = {.stride = x->stride, .z_stride = z_stride, .n0 = n0, .n1 = n1, .shift = w->shift};
  j.squares = scratch;
  for (uint32_t t = t0; t < t1; t += j.tokens) {
    curta_amx_chunk chunks[2];
    j.tokens = least(t1 - t, CURTA_PRODUCT_TOKENS);
    j.q = x->codes + (size_t)t * x->stride;
    j.z = z + (size_t)t * z_stride;
    const uint32_t squares = (j.tokens + BOTH - 1) / BOTH;
    const size_t room = CURTA_PRODUCT_SCRATCH(j.tokens) - squares * sizeof(square);
    j.most = least((uint32_t)(room / (2 * sizeof(curta_amx_step))), CURTA_AMX_STEPS);
    chunks[0].step = (curta_amx_step *)(void *)(j.squares + squares);
    chunks[1].step = chunks[0].step + j.most;
    configure(least(j.tokens, SIDE));
    curta_amx_begin_panel(&j.panel, w, n0, n1);
    curta_amx_begin_chunk(&j.panel, &chunks[0]);
    j.next = &chunks[0];
    pack_rest(&j);
    for (curta_amx_chunk *c = j.next; c; c = j.next) {
      j.next = begin_next(&j, w, &chunks[c == &chunks[0]]);
      run_chunk(&j, c);
      pack_rest(&j);
    }
    deliver(&j, BOTH);
  }
  release();
}

/// Few tokens do not pay for the packing, which takes longer with group scales, nor for the blocks
/// of zeros beside those of a masked tensor.
static int fits(const curta_weight *w, uint32_t tokens) {
  const uint32_t fewest = (w->group_scales ? 12u : 4u) * (w->mask_starts ? 3u : 1u);
  return tokens >= fewest && !w->group_offsets;
}

void curta_product_nibbles__amx(const curta_weight *w, const curta_codes *x, uint32_t t0,
                                uint32_t t1, uint32_t n0, uint32_t n1, int32_t *z, size_t z_stride,
                                void *scratch) {
  if (fits(w, t1 - t0))
    product_tiles(w, x, t0, t1, n0, n1, z, z_stride, scratch);
  else
    curta_product_nibbles__avx512vnni(w, x, t0, t1, n0, n1, z, z_stride, scratch);
}

void curta_product_sixes__amx(const curta_weight *w, const curta_codes *x, uint32_t t0, uint32_t t1,
                              uint32_t n0, uint32_t n1, int32_t *z, size_t z_stride,
                              void *scratch) {
  if (fits(w, t1 - t0))
    product_tiles(w, x, t0, t1, n0, n1, z, z_stride, scratch);
  else
    curta_product_sixes__avx512vnni(w, x, t0, t1, n0, n1, z, z_stride, scratch);
}

void curta_product_bytes__amx(const curta_weight *w, const curta_codes *x, uint32_t t0, uint32_t t1,
                              uint32_t n0, uint32_t n1, int32_t *z, size_t z_stride,
                              void *scratch) {
  if (fits(w, t1 - t0))
    product_tiles(w, x, t0, t1, n0, n1, z, z_stride, scratch);
  else
    curta_product_bytes__avx512vnni(w, x, t0, t1, n0, n1, z, z_stride, scratch);
}

#endif
