// Products of grid tensors with AMX, the tiles of Sapphire Rapids, for many tokens.
// SPDX-License-Identifier: Apache-2.0
//
// TDPBSSD multiplies 64 codes of 16 tokens, as they lie in memory, with a tile of weights: 64
// columns of 16 rows, four columns of all rows after each other. A step has two tiles of weights,
// first and second, for 32 tokens. What they hold is the panel's kind:
// - ROWS: 32 rows without group scales.
// - HALVES: 16 such rows, each tile other columns; S = first + second.
// - PLANES: 16 rows with group scales s, already multiplied. Of nibbles c * (s mod 16) and
//   c * floor(s / 16), S = first + 16 * second; of bytes c * s = first + 256 * second, first
//   signed.
//
// Proof that no lane overflows: a tile's numbers are codes, abs <= 127, or planes: of nibbles
// abs <= 8 * 15 = 120, of bytes first >= -128 and abs(second) <= floor((127 * 255 + 128) / 256) =
// 127. So a lane's abs <= 128 * 127 * 2^17 < 2^31 over a whole row, and its product with a mantissa
// and 256 is below 2^55.

#include "../kernels.h"
#include "masked.h"

#if defined(__x86_64__)
#include "../avx512.h"

#define CURTA_AMX __attribute__((target("amx-tile,amx-int8")))

enum {
  SIDE = 16,  // rows, or tokens, of a tile
  STEPS = 12, // in a chunk of columns at most
  FEWEST = 8, // for which there is always room
  NONE = -1,  // no block
};

/// The two tiles of weights of a step: [4 columns][row][4].
typedef struct {
  int8_t tile[2][SIDE][64];
} step;

/// Sums of 32 tokens with them.
typedef struct {
  int32_t of[2][2][SIDE][SIDE]; // [tile of tokens][tile of weights][token][row]
} square;

_Static_assert(CURTA_PRODUCT_SCRATCH(1) >= sizeof(square) + FEWEST * sizeof(step) &&
                   CURTA_PRODUCT_SCRATCH(36) - CURTA_PRODUCT_SCRATCH(12) >= sizeof(square),
               "room for what is packed");

enum kind { ROWS, HALVES, PLANES };

/// 64 columns in which blocks are stored.
typedef struct {
  uint32_t column;  // the first
  int32_t block[2]; // of the stored ones of a row, or NONE
} place;

/// 32 or 16 rows with the tokens that share them.
typedef struct {
  curta_weight w;         // of a masked tensor the strip's
  const uint16_t *places; // of its stored blocks in the row, or NULL: all are
  uint32_t blocks;        // stored in a row
  uint32_t next;          // of them to be packed
  uint32_t rows;
  const uint16_t *mantissas; // [rows]
  int nibbles;
  enum kind kind;

  const int8_t *q; // [tokens][stride]
  size_t stride;
  uint32_t tokens;

  // A chunk of columns.
  uint32_t most; // steps
  uint32_t steps;
  size_t columns[STEPS][2]; // of the tokens' codes that the tiles meet
  step *step;
  square *squares; // one for 32 tokens each while chunks are added, else two

  const uint8_t *row[2][SIDE], *scales[SIDE];
  uint32_t turned;                // sixteen groups, which is in:
  int32_t turned_scales[4][SIDE]; // [4 groups][row][group]
} panel;

static uint32_t least(uint32_t a, uint32_t b) { return a < b ? a : b; }

// MARK: - Weights

static uint32_t block_place(const panel *p, uint32_t block) {
  return p->places ? p->places[block] : block;
}

/// The next columns that have a stored block; of none left a place without blocks.
static place next_place(panel *p) {
  place at = {0, {NONE, NONE}};
  if (p->next < p->blocks)
    at.column = block_place(p, p->next) / 2 * 64;
  for (; p->next < p->blocks && block_place(p, p->next) / 2 * 64 == at.column; p->next++)
    at.block[block_place(p, p->next) % 2] = (int32_t)p->next;
  return at;
}

/// The scales of a stored block's rows.
CURTA_AVX512_INLINE __m512i block_scales(panel *p, uint32_t block) {
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
CURTA_AVX512 static void pack(panel *p, const uint8_t *const *row, place at, int8_t *first,
                              int8_t *second) {
  for (int half = 0; half < 2; half++, first += 512, second += 512) {
    if (at.block[half] == NONE) {
      for (int j = 0; j < 8; j++) {
        store512(first + 64 * j, _mm512_setzero_si512());
        if (p->kind == PLANES)
          store512(second + 64 * j, _mm512_setzero_si512());
      }
      continue;
    }
    const size_t block = (size_t)at.block[half];
    __m512i x[8];
    if (p->nibbles) {
      const __m512i low = _mm512_set1_epi8(15);
      transpose(row, block * 16, 16, x);
      CURTA_UNROLL for (int j = 0; j < 4; j++) {
        x[4 + j] = _mm512_and_si512(_mm512_srli_epi16(x[j], 4), low);
        x[j] = _mm512_and_si512(x[j], low);
      }
    } else {
      transpose(row, block * 32, 16, x);
      transpose(row, block * 32 + 16, 16, x + 4);
    }
    if (p->kind == PLANES) {
      store_planes(x, block_scales(p, (uint32_t)block), p->nibbles, first, second);
    } else {
      const __m512i bias = _mm512_set1_epi8(p->nibbles ? 8 : 0);
      CURTA_UNROLL for (int j = 0; j < 8; j++)
          store512(first + 64 * j, _mm512_sub_epi8(x[j], bias));
    }
  }
}

/// Packs the next chunk of the panel.
static void pack_chunk(panel *p) {
  uint32_t i = 0;
  for (; i < p->most && p->next < p->blocks; i++) {
    step *to = &p->step[i];
    const place at = next_place(p);
    place other = at;
    pack(p, p->row[0], at, to->tile[0][0], to->tile[1][0]);
    if (p->kind == HALVES)
      other = next_place(p);
    if (p->kind != PLANES)
      pack(p, p->row[1], other, to->tile[1][0], 0);
    p->columns[i][0] = at.column;
    p->columns[i][1] = other.column;
  }
  p->steps = i;
}

/// Points the panel at the rows from n on, before n1.
static void begin_panel(panel *p, const curta_weight *w, uint32_t n, uint32_t n1) {
  uint32_t first = n;
  p->places = 0;
  p->w = *w;
  p->kind = w->group_scales ? PLANES : w->mask_starts || n1 - n <= SIDE ? HALVES : ROWS;
  p->rows = least(n1 - n, p->kind == ROWS ? 2 * SIDE : SIDE);
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
      const size_t at = first + least(r + (p->kind == ROWS ? i * SIDE : 0), p->rows - 1);
      p->row[i][r] = (const uint8_t *)p->w.codes + at * p->w.row_bytes;
      if (p->kind == PLANES)
        p->scales[r] = p->w.group_scales + at * p->w.groups;
    }
}

// MARK: - Tiles

/// What LDTILECFG reads. Tiles 0 to 3: sums; 4, 5: tokens; 6, 7: weights.
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

/// Where the tile of the tokens from t on begins; the last one has tokens of the one before too.
static uint32_t tile_token(const panel *p, uint32_t t) {
  return p->tokens < SIDE ? 0 : least(t, p->tokens - SIDE);
}

/// Adds the chunk's products with the tiles of the tokens from t on and, if there, from t + 16 on.
CURTA_AMX static void multiply(const panel *p, uint32_t t, square *sums, int begins) {
  const int8_t *q0 = p->q + tile_token(p, t) * p->stride;
  const int8_t *q1 = p->q + tile_token(p, t + SIDE) * p->stride;
  const int both = t + SIDE < p->tokens;
  const size_t stride = p->stride;
  __asm__ volatile("" ::: "memory");
  if (begins) {
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
  for (uint32_t s = 0; s < p->steps; s++) {
    const size_t a = p->columns[s][0], b = p->columns[s][1];
    _tile_loadd(4, q0 + a, stride);
    _tile_loadd(6, p->step[s].tile[0], 64);
    _tile_dpbssd(0, 4, 6);
    _tile_loadd(5, q0 + b, stride);
    _tile_loadd(7, p->step[s].tile[1], 64);
    _tile_dpbssd(1, 5, 7);
    if (both) {
      _tile_loadd(4, q1 + a, stride);
      _tile_dpbssd(2, 4, 6);
      _tile_loadd(5, q1 + b, stride);
      _tile_dpbssd(3, 5, 7);
    }
  }
  _tile_stored(0, sums->of[0][0], 64);
  _tile_stored(1, sums->of[0][1], 64);
  if (both) {
    _tile_stored(2, sums->of[1][0], 64);
    _tile_stored(3, sums->of[1][1], 64);
  }
}

// MARK: - Sums

/// z = round(S * m, shift) of the tokens from k on, for some rows of the panel; S is a sum, or of
/// two.
CURTA_AVX512_INLINE void finish(const panel *p, const int32_t (*sums)[SIDE][SIDE], uint32_t k,
                                uint32_t tokens, uint32_t first, uint32_t rows, int two, int32_t *z,
                                size_t z_stride) {
  const uint32_t shift = p->w.shift;
  const __mmask16 there = (__mmask16)((1u << rows) - 1), odds = 0xAAAA;
  const __m512i m = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(there, p->mantissas + first));
  const __m512i half = _mm512_set1_epi64(shift ? (int64_t)1 << (shift - 1) : 0);
  const __m512i down = _mm512_set1_epi64((int64_t)shift), m_odd = _mm512_srli_epi64(m, 32);
  const uint32_t up = p->kind == HALVES ? 0 : p->nibbles ? 4 : 8;
  const __m512i m2 = _mm512_sllv_epi32(m, _mm512_set1_epi32((int32_t)up));
  const __m512i m2_odd = _mm512_srli_epi64(m2, 32);
  for (z += first; k < tokens; k++, z += z_stride) {
    const __m512i x = load512(sums[0][k]);
    __m512i even = _mm512_add_epi64(_mm512_mul_epi32(x, m), half);
    __m512i odd = _mm512_add_epi64(_mm512_mul_epi32(_mm512_srli_epi64(x, 32), m_odd), half);
    if (two) {
      const __m512i y = load512(sums[1][k]);
      even = _mm512_add_epi64(even, _mm512_mul_epi32(y, m2));
      odd = _mm512_add_epi64(odd, _mm512_mul_epi32(_mm512_srli_epi64(y, 32), m2_odd));
    }
    odd = _mm512_slli_epi64(_mm512_srav_epi64(odd, down), 32);
    _mm512_mask_storeu_epi32(z, there,
                             _mm512_mask_blend_epi32(odds, _mm512_srav_epi64(even, down), odd));
  }
}

/// Brings the sums of the tokens from t on, up to 32, to where they go.
CURTA_AVX512 static void deliver(const panel *p, uint32_t t, const square *sums, int32_t *z,
                                 size_t z_stride) {
  const uint32_t side = least(p->tokens, SIDE);
  for (uint32_t i = 0; i < 2 && t < p->tokens; i++, t += SIDE) {
    const int32_t(*of)[SIDE][SIDE] = sums->of[i];
    const uint32_t k = t - tile_token(p, t);
    int32_t *to = z + t * z_stride;
    if (p->kind == ROWS) {
      finish(p, of, k, side, 0, SIDE, 0, to, z_stride);
      finish(p, of + 1, k, side, SIDE, p->rows - SIDE, 0, to, z_stride);
    } else {
      finish(p, of, k, side, 0, p->rows, 1, to, z_stride);
    }
  }
}

/// The panel's rows of z for its tokens.
static void run_panel(panel *p, int32_t *z, size_t z_stride) {
  enum { BOTH = 2 * SIDE };
  for (int begins = 1, ends = 0; !ends; begins = 0) {
    pack_chunk(p);
    ends = p->next == p->blocks;
    // Sums that no other chunk is added to wait while the next ones are on their way.
    const uint32_t squares = begins && ends ? 2 : UINT32_MAX;
    uint32_t t = 0;
    for (; t < p->tokens; t += BOTH) {
      multiply(p, t, &p->squares[t / BOTH % squares], begins);
      if (ends && t)
        deliver(p, t - BOTH, &p->squares[(t / BOTH - 1) % squares], z, z_stride);
    }
    if (ends)
      deliver(p, t - BOTH, &p->squares[(t / BOTH - 1) % squares], z, z_stride);
  }
}

/// The product of a grid tensor without offsets.
static void product_tiles(const curta_weight *w, const curta_codes *x, uint32_t t0, uint32_t t1,
                          uint32_t n0, uint32_t n1, int32_t *z, size_t z_stride, int nibbles,
                          void *scratch) {
  panel p;
  p.nibbles = nibbles;
  p.stride = x->stride;
  p.squares = scratch;
  for (uint32_t t = t0; t < t1; t += p.tokens) {
    p.tokens = least(t1 - t, CURTA_PRODUCT_TOKENS);
    p.q = x->codes + (size_t)t * x->stride;
    const uint32_t squares = (p.tokens + 2 * SIDE - 1) / (2 * SIDE);
    const size_t room = CURTA_PRODUCT_SCRATCH(p.tokens) - squares * sizeof(square);
    p.step = (step *)(void *)(p.squares + squares);
    p.most = room / sizeof(step) < STEPS ? (uint32_t)(room / sizeof(step)) : STEPS;
    configure(least(p.tokens, SIDE));
    for (uint32_t n = n0; n < n1; n += p.rows) {
      begin_panel(&p, w, n, n1);
      run_panel(&p, z + t * z_stride + (n - n0), z_stride);
    }
  }
  release();
}

/// Few tokens do not pay for the packing.
static int fits(const curta_weight *w, uint32_t tokens) { return tokens >= 4 && !w->group_offsets; }

void curta_product_nibbles__amx(const curta_weight *w, const curta_codes *x, uint32_t t0,
                                uint32_t t1, uint32_t n0, uint32_t n1, int32_t *z, size_t z_stride,
                                void *scratch) {
  if (fits(w, t1 - t0))
    product_tiles(w, x, t0, t1, n0, n1, z, z_stride, 1, scratch);
  else
    curta_product_nibbles__avx512vnni(w, x, t0, t1, n0, n1, z, z_stride, scratch);
}

void curta_product_bytes__amx(const curta_weight *w, const curta_codes *x, uint32_t t0, uint32_t t1,
                              uint32_t n0, uint32_t n1, int32_t *z, size_t z_stride,
                              void *scratch) {
  if (fits(w, t1 - t0))
    product_tiles(w, x, t0, t1, n0, n1, z, z_stride, 0, scratch);
  else
    curta_product_bytes__avx512vnni(w, x, t0, t1, n0, n1, z, z_stride, scratch);
}

#endif
