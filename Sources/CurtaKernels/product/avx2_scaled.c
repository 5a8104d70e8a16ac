// The frame of panels with group scales for AVX2 and AVX-VNNI, and the tiles of AVX2.
// SPDX-License-Identifier: Apache-2.0
//
// A lane is a row, as in avx2_panels.h, and has its scale, so that a block of 32 columns is one
// int16 sum, scaled once: 17 instructions for 256 products of nibbles. The codes of tokens are the
// unsigned operand of VPMADDUBSW, v = q + 128: what is too much is then the same for every token,
// and the sums of rows begin at -128 * scale * (sum of c), or those of their blocks at -128 * (sum
// of c). Tokens are turned into v once for a slab of rows.
//
// Proof that no lane overflows, for codes q within 127, v <= 255, scales s <= 255:
//
// nibbles: abs(c) <= 8. A step of four columns gives int16 lanes of abs <= 2 * 8 * 255 = 4080; the
//   8 steps of a block are 32640 < 2^15.
// small, sixes: abs(c) <= 32. A step gives abs <= 2 * 32 * 255 = 16320; two are 32640.
//
// VPMADDWD by s gives abs <= 2 * 32640 * 255 < 2^31. Int32 lanes are modulo 2^32 and end at the sum
// of s * c * q. That is abs <= 32 * 8 * 127 = 32512 and 32 * 32 * 127 = 130048 times the sum of the
// scales of a row's blocks, which is looked at in rows of more than 259 and 64 blocks: 32512 *
// 66052 and 130048 * 16512 are below 2^31. Without scales it is at most 32 * 127 * 2^17 < 2^31.

#include "../kernels.h"
#include "masked.h"

#if defined(__x86_64__)
#include "avx2_scaled.h"
#include "avx2_sink.h"

enum {
  BLOCK_BYTES = CURTA_SCALED_BLOCK_BYTES,
  CHUNK_BLOCKS = 27,
  SLAB_ROWS = 256,       // whose sums stay in the second-level cache from chunk to chunk
  NIBBLE_SCALES = 66052, // sums of a row's scales at most, see above
  SMALL_SCALES = 16512,
};

_Static_assert(CHUNK_BLOCKS *BLOCK_BYTES <= CURTA_PRODUCT_SCRATCH(0) &&
                   CHUNK_BLOCKS * 12 * 32 <= CURTA_PRODUCT_SCRATCH(12) - CURTA_PRODUCT_SCRATCH(0),
               "room for a panel and for the codes of each 12 tokens");

/// The rows of a panel: of a masked tensor those of a strip, as a dense tensor of its survivors.
typedef struct {
  curta_weight w;
  const uint16_t *places; // of all its blocks, or NULL
  uint32_t n, rows;       // in w
} part;

static part part_of(const curta_weight *w, uint32_t n, uint32_t n1) {
  part of = {*w, 0, n, least(n1 - n, CURTA_PANEL_ROWS)};
  if (w->mask_starts) {
    const uint32_t strip = n / CURTA_STRIP_ROWS, top = strip * CURTA_STRIP_ROWS;
    of.w = curta_strip(w, strip);
    of.places = w->mask_blocks + w->mask_starts[strip];
    of.n = n - top;
    of.rows = least(n1, top + CURTA_STRIP_ROWS) - n;
  }
  return of;
}

// MARK: - What fits

CURTA_AVX2 static uint32_t sum_of_bytes(const uint8_t *x, uint32_t n) {
  __m256i lanes = _mm256_setzero_si256();
  uint32_t i = 0;
  for (; i + 32 <= n; i += 32)
    lanes = _mm256_add_epi64(lanes, _mm256_sad_epu8(load256(x + i), _mm256_setzero_si256()));
  uint32_t sum = (uint32_t)sum_of_i64(lanes);
  for (; i < n; i++)
    sum += x[i];
  return sum;
}

/// Whether the sums of all rows are within int32, whatever the codes are.
static int sums_fit(const curta_weight *w, uint32_t n0, uint32_t n1) {
  const uint32_t limit = w->kind == CURTA_WEIGHT_NIBBLES ? NIBBLE_SCALES : SMALL_SCALES;
  if (!w->group_scales || (w->columns + 31) / 32 * 255 <= limit)
    return 1;
  for (uint32_t n = n0, rows; n < n1; n += rows) {
    const part of = part_of(w, n, n1);
    rows = of.rows;
    for (uint32_t r = 0; r < rows; r++) {
      const uint8_t *scales = of.w.group_scales + (size_t)(of.n + r) * of.w.groups;
      if (sum_of_bytes(scales, of.w.groups) * of.w.group_blocks > limit)
        return 0;
    }
  }
  return 1;
}

/// Fewer tokens do not pay for packing. Without scales tiles lose only at the ends of rows, those
/// of small codes.
static uint32_t fewest_tokens(const curta_weight *w) {
  const int is_long = w->kind != CURTA_WEIGHT_NIBBLES && !w->mask_starts && w->columns > 1024;
  return w->group_scales ? 6 : is_long ? 64 : 12;
}

int curta_avx2_scaled_fits(const curta_weight *w, uint32_t tokens, uint32_t n0, uint32_t n1) {
  return w->kind != CURTA_WEIGHT_BYTES && !w->group_offsets && tokens >= fewest_tokens(w) &&
         sums_fit(w, n0, n1);
}

// MARK: - Packing

static inline void put(uint8_t *to, uint32_t x) { __builtin_memcpy(to, &x, 4); }

/// `unit` times the scales of the blocks [b, b + p->blocks) for each row, or times 1.
static void pack_scales(curta_scaled_panel *p, const curta_weight *w, const uint32_t *row,
                        uint32_t b, uint32_t unit) {
  static const uint8_t one = 1;
  const int several = w->group_scales && w->groups > 1;
  const uint32_t group = several ? b / w->group_blocks : 0;
  for (uint32_t r = 0; r < CURTA_PANEL_ROWS; r++) {
    const uint8_t *scale =
        w->group_scales ? w->group_scales + (size_t)row[r] * w->groups + group : &one;
    uint32_t end = several ? (group + 1) * w->group_blocks : UINT32_MAX;
    uint8_t *to = p->codes + CURTA_SCALED_SCALES + 4 * r;
    if (several && w->group_blocks == 1) {
      for (uint32_t i = 0; i < p->blocks; i++)
        put(to + i * BLOCK_BYTES, scale[i] * unit);
      continue;
    }
    for (uint32_t i = 0; i < p->blocks; i++) {
      if (b + i == end) {
        scale++;
        end += w->group_blocks;
      }
      put(to + i * BLOCK_BYTES, *scale * unit);
    }
  }
}

/// Sixteen bytes of eight rows, row[r] + at: in c[j] four bytes of each.
CURTA_AVX2_INLINE void turn_halves(const uint8_t *const *row, size_t at, __m256i *c) {
  __m256i a[4], b[4]; // rows r and r + 4
  CURTA_UNROLL for (int r = 0; r < 4; r++) a[r] = _mm256_inserti128_si256(
      _mm256_castsi128_si256(load128(row[r] + at)), load128(row[r + 4] + at), 1);
  CURTA_UNROLL for (int i = 0; i < 4; i += 2) {
    b[i] = _mm256_unpacklo_epi32(a[i], a[i + 1]);
    b[i + 1] = _mm256_unpackhi_epi32(a[i], a[i + 1]);
  }
  CURTA_UNROLL for (int i = 0; i < 2; i++) {
    c[2 * i] = _mm256_unpacklo_epi64(b[i], b[i + 2]);
    c[2 * i + 1] = _mm256_unpackhi_epi64(b[i], b[i + 2]);
  }
}

/// Half a block of 16 rows: row[r] + at.
CURTA_AVX2_INLINE __m256i pack_nibbles(const uint8_t *const *row, size_t at, uint8_t *to) {
  const __m256i nibble = _mm256_set1_epi8(15), bias = _mm256_set1_epi8(8);
  __m256i c[4];
  turn_halves(row, at, c);
  __m256i all = _mm256_setzero_si256(); // of eight codes, abs <= 64
  CURTA_UNROLL for (int j = 0; j < 4; j++) {
    const __m256i low = _mm256_and_si256(c[j], nibble);
    const __m256i high = _mm256_and_si256(_mm256_srli_epi16(c[j], 4), nibble);
    const __m256i codes[2] = {_mm256_sub_epi8(low, bias), _mm256_sub_epi8(high, bias)};
    store256(to + j * 64, codes[0]);
    store256(to + (j + 4) * 64, codes[1]);
    all = _mm256_add_epi8(all, _mm256_add_epi8(codes[0], codes[1]));
  }
  return _mm256_maddubs_epi16(_mm256_set1_epi8(1), all);
}

/// Adds the pairs of codes to `all`.
CURTA_AVX2_INLINE __m256i with_pairs(__m256i all, __m256i codes) {
  return _mm256_add_epi16(all, _mm256_maddubs_epi16(_mm256_set1_epi8(1), codes));
}

CURTA_AVX2_INLINE __m256i pack_sixes(const uint8_t *const *row, size_t at, uint8_t *to) {
  const __m256i nibble = _mm256_set1_epi8(15), upper = _mm256_set1_epi8(0x30);
  const __m256i bias = _mm256_set1_epi8(32);
  __m256i c[4], a[4], all = _mm256_setzero_si256();
  turn_halves(row, at, c);
  CURTA_UNROLL for (int r = 0; r < 4; r++) a[r] = _mm256_inserti128_si256(
      _mm256_castsi128_si256(_mm_loadl_epi64((const __m128i *)(const void *)(row[r] + at + 16))),
      _mm_loadl_epi64((const __m128i *)(const void *)(row[r + 4] + at + 16)), 1);
  const __m256i b[2] = {_mm256_unpacklo_epi32(a[0], a[1]), _mm256_unpacklo_epi32(a[2], a[3])};
  const __m256i two[2] = {_mm256_unpacklo_epi64(b[0], b[1]), _mm256_unpackhi_epi64(b[0], b[1])};
  CURTA_UNROLL for (int j = 0; j < 4; j++) {
    const __m256i first = _mm256_slli_epi16(two[j % 2], j < 2 ? 4 : 2);
    const __m256i second = _mm256_srli_epi16(two[j % 2], j < 2 ? 0 : 2);
    const __m256i low =
        _mm256_or_si256(_mm256_and_si256(c[j], nibble), _mm256_and_si256(first, upper));
    const __m256i high = _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(c[j], 4), nibble),
                                         _mm256_and_si256(second, upper));
    const __m256i codes[2] = {_mm256_sub_epi8(low, bias), _mm256_sub_epi8(high, bias)};
    store256(to + j * 64, codes[0]);
    store256(to + (j + 4) * 64, codes[1]);
    all = with_pairs(with_pairs(all, codes[0]), codes[1]);
  }
  return all;
}

CURTA_AVX2_INLINE __m256i pack_small(const uint8_t *const *row, size_t at, uint8_t *to) {
  __m256i c[8], all = _mm256_setzero_si256();
  turn_rows(row, at, c);
  CURTA_UNROLL for (int j = 0; j < 8; j++) {
    store256(to + j * 64, c[j]);
    all = with_pairs(all, c[j]);
  }
  return all;
}

/// Half of block i of 16 rows.
CURTA_AVX2_INLINE __m256i pack_half(uint32_t kind, const uint8_t *const *row, size_t i,
                                    uint8_t *to) {
  return kind == CURTA_WEIGHT_NIBBLES ? pack_nibbles(row, i * 16, to)
         : kind == CURTA_WEIGHT_SIXES ? pack_sixes(row, i * 24, to)
                                      : pack_small(row, i * 32, to);
}

/// Packs the blocks [b, b + p->blocks) of the rows n ... n + rows-1; where rows run out the last
/// one is repeated.
CURTA_AVX2 static void pack(curta_scaled_panel *p, const curta_scaled_way *way,
                            const curta_weight *w, uint32_t n, uint32_t rows, uint32_t b) {
  uint32_t at[CURTA_PANEL_ROWS];
  const uint8_t *row[CURTA_PANEL_ROWS];
  for (uint32_t r = 0; r < CURTA_PANEL_ROWS; r++) {
    at[r] = n + least(r, rows - 1);
    row[r] = (const uint8_t *)w->codes + (size_t)at[r] * w->row_bytes;
  }
  __m256i begins[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
  uint8_t *to = p->codes;
  pack_scales(p, w, at, b, way->blocks_begin ? 1 : 0x10001);
  for (uint32_t i = 0; i < p->blocks; i++, to += BLOCK_BYTES) {
    CURTA_UNROLL for (int h = 0; h < 2; h++) {
      const __m256i all = pack_half(w->kind, row + 8 * h, b + i, to + 32 * h);
      const __m256i scale =
          way->blocks_begin ? _mm256_set1_epi16(1) : load256(to + CURTA_SCALED_SCALES + 32 * h);
      const __m256i much = _mm256_slli_epi32(_mm256_madd_epi16(all, scale), 7);
      begins[h] = _mm256_sub_epi32(way->blocks_begin ? _mm256_setzero_si256() : begins[h], much);
      store256(to + CURTA_SCALED_BEGINS + 32 * h, begins[h]);
    }
  }
  p->begins[0] = begins[0];
  p->begins[1] = begins[1];
}

/// turned[token / several][block][token % several][32] = q + 128; where tokens run out the last one
/// is repeated.
CURTA_AVX2 static void turn_tokens(const int8_t *codes, size_t stride, uint32_t tokens,
                                   uint32_t blocks, uint32_t several, uint8_t *turned) {
  const __m256i bias = _mm256_set1_epi8(-128);
  for (uint32_t t = 0; t < tokens; t += several)
    for (uint32_t i = 0; i < several; i++) {
      const int8_t *q = codes + (t + least(i, tokens - t - 1)) * stride;
      uint8_t *to = turned + (size_t)t * blocks * 32 + i * 32;
      for (uint32_t b = 0; b < blocks; b++)
        store256(to + (size_t)b * several * 32, _mm256_xor_si256(load256(q + b * 32), bias));
    }
}

// MARK: - Tiles

/// Adds scale * c * v of a block; `tokens` is a constant.
CURTA_AVX2_INLINE void nibbles_block(const uint8_t *codes, const uint8_t *v, uint32_t tokens,
                                     __m256i (*lanes)[2]) {
  __m256i pairs[4][2];
  CURTA_UNROLL for (uint32_t k = 0; k < CURTA_SCALED_STEPS; k++) {
    const __m256i c[2] = {load256(codes + 64 * k), load256(codes + 64 * k + 32)};
    CURTA_UNROLL for (uint32_t t = 0; t < tokens; t++) {
      const __m256i own = four_codes(v + 32 * t + 4 * k);
      CURTA_UNROLL for (int h = 0; h < 2; h++) {
        const __m256i step = _mm256_maddubs_epi16(own, c[h]);
        pairs[t][h] = k ? _mm256_add_epi16(pairs[t][h], step) : step;
        __asm__("" : "+x"(pairs[t][h])); // else steps are added as a tree, of too many registers
      }
    }
  }
  CURTA_UNROLL for (int h = 0; h < 2; h++) {
    const __m256i scale = load256(codes + CURTA_SCALED_SCALES + 32 * h);
    CURTA_UNROLL for (uint32_t t = 0; t < tokens; t++) lanes[t][h] =
        _mm256_add_epi32(lanes[t][h], _mm256_madd_epi16(pairs[t][h], scale));
  }
}

CURTA_AVX2_INLINE void small_block(const uint8_t *codes, const uint8_t *v, uint32_t tokens,
                                   __m256i (*lanes)[2]) {
  for (uint32_t k = 0; k < CURTA_SCALED_STEPS; k += 2) {
    const uint8_t *const from = codes + 64 * k;
    const __m256i c[4] = {load256(from), load256(from + 32), load256(from + 64),
                          load256(from + 96)};
    CURTA_UNROLL for (uint32_t t = 0; t < tokens; t++) {
      const uint8_t *const at = v + 32 * t + 4 * k;
      const __m256i a = four_codes(at), b = four_codes(at + 4);
      const uint8_t *scales = codes + CURTA_SCALED_SCALES;
      __asm__ volatile(""
                       : "+r"(scales)); // else they take registers, and sums of rows wait in memory
      CURTA_UNROLL for (int h = 0; h < 2; h++) {
        const __m256i pairs =
            _mm256_add_epi16(_mm256_maddubs_epi16(a, c[h]), _mm256_maddubs_epi16(b, c[h + 2]));
        lanes[t][h] =
            _mm256_add_epi32(lanes[t][h], _mm256_madd_epi16(pairs, load256(scales + 32 * h)));
      }
    }
  }
}

/// The sums of a chunk for one or four tokens.
CURTA_AVX2_INLINE void tile(const curta_scaled_panel *p, const uint8_t *turned, int are_nibbles,
                            uint32_t tokens, __m256i (*sums)[2]) {
  __m256i lanes[4][2];
  CURTA_UNROLL for (uint32_t t = 0; t < tokens; t++) CURTA_UNROLL for (int h = 0; h < 2; h++)
      lanes[t][h] = p->begins[h];
  const uint8_t *codes = p->codes;
  for (uint32_t b = 0; b < p->blocks; b++, codes += BLOCK_BYTES) {
    const uint8_t *v = curta_scaled_place(p, turned, b, 4);
    (are_nibbles ? nibbles_block : small_block)(codes, v, tokens, lanes);
  }
  CURTA_UNROLL for (uint32_t t = 0; t < tokens; t++) CURTA_UNROLL for (int h = 0; h < 2; h++)
      sums[t][h] = lanes[t][h];
}

#define TILE(name, are_nibbles, tokens)                                                            \
  CURTA_AVX2 static void name(const curta_scaled_panel *p, const uint8_t *turned,                  \
                              __m256i(*sums)[2]) {                                                 \
    tile(p, turned, are_nibbles, tokens, sums);                                                    \
  }
TILE(nibbles_one, 1, 1)
TILE(nibbles_four, 1, 4)
TILE(small_one, 0, 1)
TILE(small_four, 0, 4)

const curta_scaled_ways curta_avx2_scaled_ways = {{nibbles_one, nibbles_four, 4, 0},
                                                  {small_one, small_four, 4, 0}};

/// The codes that are packed next, which are fetched while tokens pass.
typedef struct {
  const uint8_t *codes;
  size_t row_bytes; // from row to row
  uint32_t rows, bytes;
} coming;

/// All tokens of a packed chunk.
CURTA_AVX2_INLINE void run_tokens(const curta_scaled_panel *p, const curta_scaled_way *way,
                                  const uint8_t *turned, size_t turned_bytes, uint32_t tokens,
                                  const coming *next, const curta_sink *to, int32_t *z,
                                  size_t z_stride, int whole) {
  const uint32_t several = way->tokens;
  for (uint32_t t = 0, r = 0; t < tokens;
       t += several, turned += turned_bytes, z += several * z_stride) {
    const uint32_t count = least(tokens - t, several);
    for (; r < next->rows && r * tokens < (t + several) * CURTA_PANEL_ROWS; r++)
      for (uint32_t i = 0; i < next->bytes; i += 64)
        __builtin_prefetch(next->codes + r * next->row_bytes + i);
    __m256i sums[CURTA_PANEL_TILE][2];
    (count == 1 ? way->one : way->several)(p, turned, sums);
    deliver(to, count, (const __m256i(*)[2])sums, z, z_stride, whole);
  }
}

// MARK: - Frame

/// Chooses the blocks of the columns [first, end), counted in blocks; returns the first one.
static uint32_t choose(curta_scaled_panel *p, const part *of, uint32_t first, uint32_t end) {
  if (!of->places) {
    static const uint16_t every[CHUNK_BLOCKS] = {0,  1,  2,  3,  4,  5,  6,  7,  8,
                                                 9,  10, 11, 12, 13, 14, 15, 16, 17,
                                                 18, 19, 20, 21, 22, 23, 24, 25, 26};
    p->places = every;
    p->first = 0;
    p->blocks = end - first;
    return first;
  }
  const uint32_t all = of->w.columns / 32;
  uint32_t low = 0, high;
  while (low < all && of->places[low] < first)
    low++;
  for (high = low; high < all && of->places[high] < end;)
    high++;
  p->places = of->places + low;
  p->first = first;
  p->blocks = high - low;
  return low;
}

/// So many tokens as there is scratch for.
CURTA_AVX2 static void run(const curta_weight *w, const int8_t *codes, size_t stride,
                           uint32_t tokens, uint32_t n0, uint32_t n1, int32_t *z, size_t z_stride,
                           const curta_scaled_way *way, uint8_t *scratch) {
  uint8_t *const turned = scratch + CHUNK_BLOCKS * BLOCK_BYTES;
  const uint32_t blocks = (w->columns + 31) / 32;
  const uint32_t chunks = (blocks + CHUNK_BLOCKS - 1) / CHUNK_BLOCKS;
  const uint32_t most = (blocks + chunks - 1) / chunks; // so that chunks are about as long
  curta_scaled_panel p;
  p.codes = scratch;
  curta_sink to;
  for (uint32_t slab = n0, end; slab < n1; slab = end) {
    end = slab - slab % CURTA_STRIP_ROWS;
    end = chunks == 1 ? n1 : least(n1 - end, SLAB_ROWS) + end;
    for (uint32_t first = 0; first < blocks; first += most) {
      const uint32_t count = least(blocks - first, most);
      const size_t turned_bytes = (size_t)count * way->tokens * 32;
      turn_tokens(codes + (size_t)first * 32, stride, tokens, count, way->tokens, turned);
      to.first = first == 0;
      to.last = first + count == blocks;
      for (uint32_t n = slab, rows; n < end; n += rows) {
        const part of = part_of(w, n, end);
        rows = of.rows;
        begin_sink(&to, &of.w, of.n, rows);
        pack(&p, way, &of.w, of.n, rows, choose(&p, &of, first, first + count));
        coming next = {0};
        if (n + rows < end) {
          const part after = part_of(w, n + rows, end);
          const uint32_t block = (uint32_t)curta_block_bytes(w->kind);
          next = (coming){(const uint8_t *)after.w.codes + (size_t)after.n * after.w.row_bytes +
                              (size_t)(after.places ? 0 : first) * block,
                          after.w.row_bytes, after.rows,
                          after.places ? after.w.row_bytes : count * block};
        }
        if (rows == CURTA_PANEL_ROWS)
          run_tokens(&p, way, turned, turned_bytes, tokens, &next, &to, z + (n - n0), z_stride, 1);
        else
          run_tokens(&p, way, turned, turned_bytes, tokens, &next, &to, z + (n - n0), z_stride, 0);
      }
    }
  }
}

void curta_avx2_scaled(const curta_weight *w, const curta_codes *x, uint32_t t0, uint32_t t1,
                       uint32_t n0, uint32_t n1, int32_t *z, size_t z_stride,
                       const curta_scaled_ways *ways, void *scratch) {
  const curta_scaled_way *way = w->kind == CURTA_WEIGHT_NIBBLES ? &ways->nibbles : &ways->small;
  for (uint32_t t = t0, tokens; t < t1; t += tokens) {
    tokens = least(t1 - t, CURTA_PRODUCT_TOKENS);
    run(w, x->codes + (size_t)t * x->stride, x->stride, tokens, n0, n1, z + t * z_stride, z_stride,
        way, scratch);
  }
}

#endif
