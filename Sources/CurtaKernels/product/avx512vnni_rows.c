// Products of grid tensors with AVX-512 VNNI for one token: each row once, as it lies in memory.
// SPDX-License-Identifier: Apache-2.0
//
// A span is four blocks of nibbles or of packed codes of 6 bits (their 16 low codes each, then
// their 16 high ones) or two blocks of bytes. The token's codes are laid in that order first.
//
// Proof that no lane overflows: nibbles are u = c + 8 <= 15. A span adds abs <= 8 * 15 * 127 * 255
// to an int32 lane, a chunk of 48 spans 186 537 600 < 2^28; the correction, sum of s * (sum of q),
// adds two groups a step: 12 groups * 4064 * 255 < 2^24 a chunk's lane at most, times 8 < 2^28.
// Sixes are u = c + 32; a span's lane begins at -32 * (sum of q) and ends at the sum of c * q, abs
// <= 8 * 32 * 127 = 32512 < 2^15, so that VPACKSSDW is exact; with scales a chunk adds abs <= 48 *
// 32512 * 255 < 2^29 to a lane. All lanes of 64 blocks are at most 32 * 127 * 255 * 2048 < 2^31.
// Bytes are u = c + 128 <= 255. With scales a span adds abs <= 4 * 255 * 127 * 255 to a lane, a
// chunk of 64 spans 2 113 977 600 < 2^31; without, lanes are taken modulo 2^32 up to the sum of c *
// q.

#include "../kernels.h"
#include "vnni.h"

#if defined(__x86_64__)
#include "avx512vnni_sixes.h"

enum {
  SLAB = 64,           // rows whose sums wait for the next chunk
  BYTES = 6144,        // codes in a chunk at most: 48 spans of nibbles or sixes, 96 of bytes
  SCALED_BYTES = 4096, // the same of bytes with scales
  SUMS = 192,          // groups in a chunk at most
  ROWS = 4,            // whose sums are added up together
  SHORT = 32,          // blocks: rows that share what is read of the token
  NARROW = 64,         // blocks of sixes whose sum fits int32
};

/// A chunk of the columns of one token.
typedef struct {
  const curta_weight *w;
  size_t first;                    // byte of a row
  uint32_t bytes;                  // of a row in the chunk
  uint32_t group;                  // that the first column is in
  uint32_t groups;                 // that have columns in the chunk
  int64_t sum;                     // of all codes
  int16_t sums[SUMS + 32];         // of the codes of each group, then zeros
  _Alignas(64) int8_t q[BYTES];    // in the order of a span
  int32_t begins[BYTES / 128][16]; // of sixes: what a span's lanes begin at
} chunk;

static uint32_t least(uint32_t a, uint32_t b) { return a < b ? a : b; }

/// How the groups lie in a span.
enum pattern { PLAIN, ONE, TWO, FOUR };

/// Byte k of a shuffle, as the two int32 of an int64.
#define WORD(k) (int64_t)(0x8080800080808000 | (uint64_t)(k)*0x0000000100000001)

/// The order of the scales of two spans, packed as VPACKSSDW does: four blocks of each in turn.
CURTA_AVX512_INLINE __m512i packed_order(enum pattern pattern) {
  if (pattern == FOUR)
    return _mm512_setr_epi64(HALF(0), HALF(4), HALF(1), HALF(5), HALF(2), HALF(6), HALF(3),
                             HALF(7));
  if (pattern == TWO)
    return _mm512_setr_epi64(HALF(0), HALF(2), HALF(0), HALF(2), HALF(1), HALF(3), HALF(1),
                             HALF(3));
  return _mm512_setr_epi64(HALF(0), HALF(1), HALF(0), HALF(1), HALF(0), HALF(1), HALF(0), HALF(1));
}

/// The order of the scales of one span of bytes, of which the first is byte k.
CURTA_AVX512_INLINE __m512i byte_order(enum pattern pattern, int k) {
  if (pattern == TWO)
    return _mm512_setr_epi64(WORD(2 * k), WORD(2 * k), WORD(2 * k), WORD(2 * k), WORD(2 * k + 1),
                             WORD(2 * k + 1), WORD(2 * k + 1), WORD(2 * k + 1));
  return _mm512_set1_epi64(WORD(k));
}

/// Scales of two spans in all int64 lanes: of the groups g and g1, or of all from g on.
CURTA_AVX512_INLINE __m512i scales_of(const uint8_t *scales, uint32_t g, uint32_t g1,
                                      uint32_t groups, int last, int per_pair) {
  uint64_t few = 0;
  if (per_pair == 0)
    few = scales[g] | (uint64_t)scales[g1 < groups ? g1 : g] << 8;
  else if (last)
    few = (uint64_t)_mm_cvtsi128_si64(
        _mm_maskz_loadu_epi8((__mmask16)((1u << least(groups - g, 8)) - 1), scales + g));
  else
    __builtin_memcpy(&few, scales + g, per_pair == 8 ? 8 : 4);
  return _mm512_set1_epi64((int64_t)few);
}

/// Sums of scale * (sum of q) over the groups of the chunk, in lanes, of each row.
CURTA_AVX512_INLINE void group_sums(const chunk *c, const uint8_t *const *scales, uint32_t together,
                                    __m512i *lanes) {
  CURTA_UNROLL for (uint32_t r = 0; r < together; r++) lanes[r] = _mm512_setzero_si512();
  for (uint32_t g = 0; g < c->groups; g += 32) {
    const uint32_t left = least(c->groups - g, 32);
    const __mmask32 there = left == 32 ? ~(__mmask32)0 : ((__mmask32)1 << left) - 1;
    const __m512i sums = load512(c->sums + g);
    CURTA_UNROLL for (uint32_t r = 0; r < together; r++) {
      const __m256i s = _mm256_maskz_loadu_epi8(there, scales[r] + g);
      lanes[r] = _mm512_add_epi32(lanes[r], _mm512_madd_epi16(_mm512_cvtepu8_epi16(s), sums));
    }
  }
}

/// The products of a span of nibbles with the codes `low` and `high`, added to lanes.
CURTA_AVX512_INLINE __m512i nibble_span(__m512i lanes, __m512i x, __m512i low, __m512i high) {
  const __m512i nibble = _mm512_set1_epi8(15);
  lanes = _mm512_dpbusd_epi32(lanes, _mm512_and_si512(x, nibble), low);
  return _mm512_dpbusd_epi32(lanes, _mm512_and_si512(_mm512_srli_epi16(x, 4), nibble), high);
}

CURTA_AVX512_INLINE __m512i byte_span(__m512i lanes, __m512i x, __m512i q) {
  return _mm512_dpbusd_epi32(lanes, _mm512_xor_si512(x, _mm512_set1_epi8(-128)), q);
}

/// The same of sixes, whose fields of 4 and of 2 bits are x.
CURTA_AVX512_INLINE __m512i six_span(__m512i lanes, six_fields x, __m512i low, __m512i high) {
  lanes = _mm512_dpbusd_epi32(lanes, low_sixes(x), low);
  return _mm512_dpbusd_epi32(lanes, high_sixes(x), high);
}

/// Adds two spans, which lie in x, with their codes q.
CURTA_AVX512_INLINE __m512i two_spans(__m512i lanes, const __m512i *x, const __m512i *q,
                                      const __m512i *begins, __m512i scales, uint32_t kind,
                                      enum pattern pattern) {
  const __m512i zero = _mm512_setzero_si512(), x0 = x[0], x1 = x[1];
  if (kind == CURTA_WEIGHT_NIBBLES && !pattern)
    return nibble_span(nibble_span(lanes, x0, q[0], q[1]), x1, q[2], q[3]);
  if (kind == CURTA_WEIGHT_SIXES && !pattern)
    return six_span(six_span(lanes, first_sixes(x), q[0], q[1]), second_sixes(x), q[2], q[3]);
  if (kind != CURTA_WEIGHT_BYTES) {
    const int nibbles = kind == CURTA_WEIGHT_NIBBLES;
    const __m512i a = nibbles ? nibble_span(zero, x0, q[0], q[1])
                              : six_span(begins[0], first_sixes(x), q[0], q[1]);
    const __m512i b = nibbles ? nibble_span(zero, x1, q[2], q[3])
                              : six_span(begins[1], second_sixes(x), q[2], q[3]);
    return _mm512_dpwssd_epi32(lanes, _mm512_packs_epi32(a, b),
                               _mm512_shuffle_epi8(scales, packed_order(pattern)));
  }
  if (!pattern)
    return byte_span(byte_span(lanes, x0, q[0]), x1, q[2]);
  const __m512i a = _mm512_mullo_epi32(byte_span(zero, x0, q[0]),
                                       _mm512_shuffle_epi8(scales, byte_order(pattern, 0)));
  const __m512i b = _mm512_mullo_epi32(byte_span(zero, x1, q[2]),
                                       _mm512_shuffle_epi8(scales, byte_order(pattern, 1)));
  return _mm512_add_epi32(lanes, _mm512_add_epi32(a, b));
}

/// The bytes of a row from `at` on, of which `left` are there.
CURTA_AVX512_INLINE __m512i line_of(const uint8_t *p, uint32_t at, uint32_t left) {
  const uint32_t more = left < at ? 0 : left - at;
  const __mmask64 there = more >= 64 ? ~(__mmask64)0 : ((__mmask64)1 << more) - 1;
  return _mm512_maskz_loadu_epi8(there, p + at);
}

/// Sums of the lanes of four rows; those of int32 are taken modulo 2^32.
CURTA_AVX512_INLINE void add_up(const __m512i *lanes, int wide, int64_t *totals) {
  __m256i x[4];
  for (int r = 0; r < 4; r++) {
    const __m512i all = wide ? widened512(lanes[r]) : lanes[r];
    const __m256i low = _mm512_castsi512_si256(all), high = _mm512_extracti64x4_epi64(all, 1);
    x[r] = wide ? _mm256_add_epi64(low, high) : _mm256_add_epi32(low, high);
    if (wide)
      totals[r] = sum_of_i64(x[r]);
  }
  if (wide)
    return;
  const __m256i both =
      _mm256_hadd_epi32(_mm256_hadd_epi32(x[0], x[1]), _mm256_hadd_epi32(x[2], x[3]));
  store256(totals, _mm256_cvtepi32_epi64(_mm_add_epi32(low128(both), high128(both))));
}

/// Sums of scale * code * q of the chunk, and of scale * (sum of q), in lanes, for `together` rows
/// from the n-th on, at most `last`: beyond it the last again. Constants: together, kind,
/// pattern.
CURTA_AVX512_INLINE void sums_of_rows(const chunk *c, uint32_t n, uint32_t last, uint32_t together,
                                      uint32_t kind, enum pattern pattern, __m512i *lanes,
                                      __m512i *biases) {
  const curta_weight *w = c->w;
  // Groups in two spans, or spans in a group.
  const int per_pair = !pattern || pattern == ONE ? 0 : pattern == FOUR ? 8 : 4;
  const int bytes = kind == CURTA_WEIGHT_BYTES, sixes = kind == CURTA_WEIGHT_SIXES;
  const uint32_t spans_of = w->groups == 1 ? UINT32_MAX : w->group_blocks / (bytes ? 2 : 4);
  const uint32_t lines = sixes ? 3 : 2; // of 64 bytes in two spans
  const uint8_t *row[ROWS], *scales[ROWS];
  CURTA_UNROLL for (uint32_t r = 0; r < together; r++) {
    const size_t at = least(n + r, last);
    row[r] = (const uint8_t *)w->codes + at * w->row_bytes + c->first;
    scales[r] = pattern ? w->group_scales + at * w->groups + c->group : 0;
    lanes[r] = _mm512_setzero_si512();
  }
  uint32_t g = 0, in_group = 0;
  const int8_t *codes = c->q;
  const int32_t(*begins)[16] = c->begins;
  for (uint32_t at = 0; at < c->bytes; at += 64 * lines, begins += 2) {
    const uint32_t left = c->bytes - at;
    uint32_t g1 = g;
    if (pattern == ONE) {
      const uint32_t ends = ++in_group == spans_of;
      in_group = ends ? 0 : in_group;
      g1 += ends;
    }
    // Of bytes the codes of both spans, else the low and the high ones of both.
    const __m512i q[4] = {load512(codes), load512(codes + 64), load512(codes + (bytes ? 64 : 128)),
                          load512(codes + (bytes ? 64 : 192))};
    codes += bytes ? 128 : 256;
    __m512i begin[2];
    CURTA_UNROLL for (int i = 0; i < 2; i++) begin[i] =
        sixes && pattern ? load512(begins[i]) : _mm512_setzero_si512();
    CURTA_UNROLL for (uint32_t r = 0; r < together; r++) {
      const uint8_t *from = row[r] + at, *next = row[0] + (together * at + 64 * lines * r);
      CURTA_UNROLL for (uint32_t i = 0; i < lines; i++) fetch_ahead(next + 64 * i);
      __m512i few = _mm512_setzero_si512(), x[3];
      if (left >= 64 * lines) {
        if (pattern)
          few = scales_of(scales[r], g, g1, c->groups, 0, per_pair);
        CURTA_UNROLL for (uint32_t i = 0; i < lines; i++) x[i] = load512(from + 64 * i);
        lanes[r] = two_spans(lanes[r], x, q, begin, few, kind, pattern);
      } else {
        if (pattern)
          few = scales_of(scales[r], g, g1, c->groups, 1, per_pair);
        CURTA_UNROLL for (uint32_t i = 0; i < lines; i++) x[i] = line_of(from, 64 * i, left);
        lanes[r] = two_spans(lanes[r], x, q, begin, few, kind, pattern);
      }
    }
    g = g1 + (uint32_t)per_pair;
    if (pattern == ONE && ++in_group == spans_of) {
      in_group = 0;
      g++;
    }
  }
  if (pattern && !sixes)
    group_sums(c, scales, together, biases);
}

/// Sums of scale * code * q of the chunk for one to four rows, of so many together. Constants:
/// together, kind, pattern.
CURTA_AVX512_INLINE void dot(const chunk *c, uint32_t n, uint32_t rows, uint32_t together,
                             uint32_t kind, enum pattern pattern, int64_t *totals) {
  const int bytes = kind == CURTA_WEIGHT_BYTES, sixes = kind == CURTA_WEIGHT_SIXES;
  const int64_t bias = bytes ? 128 : sixes ? 32 : 8;
  const int wide = pattern && (bytes || (sixes && c->bytes > 24 * NARROW));
  __m512i lanes[ROWS], biases[ROWS];
  for (uint32_t r = 0; r < ROWS; r += together)
    sums_of_rows(c, n + r, n + rows - 1, together, kind, pattern, lanes + r, biases + r);
  if (pattern && kind == CURTA_WEIGHT_NIBBLES)
    for (uint32_t r = 0; r < ROWS; r++)
      lanes[r] = _mm512_sub_epi32(lanes[r], _mm512_slli_epi32(biases[r], 3));
  add_up(lanes, wide, totals);
  for (uint32_t r = 0; r < rows && !(pattern && sixes); r++) {
    if (wide)
      totals[r] -= bias * _mm512_reduce_add_epi32(biases[r]);
    else if (!pattern) // abs of the difference < 2^31
      totals[r] = (int32_t)(uint32_t)((uint64_t)totals[r] - (uint64_t)(bias * c->sum));
  }
}

typedef void some_rows(const chunk *c, uint32_t n, uint32_t rows, int64_t *totals);

#define SOME_ROWS(name, together, kind, pattern)                                                   \
  CURTA_AVX512 static void name(const chunk *c, uint32_t n, uint32_t rows, int64_t *totals) {      \
    dot(c, n, rows, together, CURTA_WEIGHT_##kind, pattern, totals);                               \
  }
SOME_ROWS(nibbles_plain, 1, NIBBLES, PLAIN)
SOME_ROWS(nibbles_one, 1, NIBBLES, ONE)
SOME_ROWS(nibbles_two, 1, NIBBLES, TWO)
SOME_ROWS(nibbles_four, 1, NIBBLES, FOUR)
SOME_ROWS(sixes_plain, 1, SIXES, PLAIN)
SOME_ROWS(sixes_one, 1, SIXES, ONE)
SOME_ROWS(sixes_two, 1, SIXES, TWO)
SOME_ROWS(sixes_four, 1, SIXES, FOUR)
SOME_ROWS(bytes_plain, 1, BYTES, PLAIN)
SOME_ROWS(bytes_one, 1, BYTES, ONE)
SOME_ROWS(bytes_two, 1, BYTES, TWO)
SOME_ROWS(short_nibbles_two, ROWS, NIBBLES, TWO)
SOME_ROWS(short_nibbles_four, ROWS, NIBBLES, FOUR)
SOME_ROWS(short_sixes_two, ROWS, SIXES, TWO)
SOME_ROWS(short_sixes_four, ROWS, SIXES, FOUR)

/// How the groups of a tensor lie in spans, or -1 when they do not.
static int pattern_of(const curta_weight *w) {
  const uint32_t span = curta_block_bytes(w->kind) < 32 ? 4 : 2, blocks = w->group_blocks;
  if (!w->group_scales)
    return PLAIN;
  if (w->groups == 1 || blocks % span == 0)
    return blocks <= 8 ? ONE : -1;
  return span % blocks ? -1 : span / blocks == 4 ? FOUR : TWO;
}

/// The function for rows of a tensor.
static some_rows *rows_of(const curta_weight *w, int pattern) {
  static some_rows *const nibbles[] = {nibbles_plain, nibbles_one, nibbles_two, nibbles_four};
  static some_rows *const sixes[] = {sixes_plain, sixes_one, sixes_two, sixes_four};
  static some_rows *const bytes[] = {bytes_plain, bytes_one, bytes_two};
  const uint32_t blocks = (w->columns + 31) / 32;
  if (w->kind != CURTA_WEIGHT_NIBBLES && w->kind != CURTA_WEIGHT_SIXES)
    return bytes[pattern];
  const int are_nibbles = w->kind == CURTA_WEIGHT_NIBBLES;
  // Memory gives most when rows are read one after the other; but what a short row ends with, less
  // than two spans, takes longer than reading it.
  if (blocks <= SHORT && blocks % 8 != 0 && pattern == TWO)
    return are_nibbles ? short_nibbles_two : short_sixes_two;
  if (blocks <= SHORT && blocks % 8 != 0 && pattern == FOUR)
    return are_nibbles ? short_nibbles_four : short_sixes_four;
  return (are_nibbles ? nibbles : sixes)[pattern];
}

int curta_vnni_takes_rows(const curta_weight *w) { return pattern_of(w) >= 0; }

CURTA_AVX512 static void begin_chunk(chunk *c, const curta_codes *x, uint32_t t, uint32_t block,
                                     uint32_t blocks) {
  const curta_weight *w = c->w;
  const size_t block_bytes = curta_block_bytes(w->kind);
  const int in_halves = block_bytes < 32; // low and high codes apart
  const int8_t *q = x->codes + (size_t)t * x->stride + (size_t)block * 32;
  const int16_t *sums = x->sums + (size_t)t * (x->stride / 32) + block;
  c->first = block * block_bytes;
  c->bytes = blocks * (uint32_t)block_bytes;
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
  int8_t *out = c->q;
  for (uint32_t b = 0; b < blocks; b++, q += 32) {
    int8_t *low = out + (in_halves ? b / 4 * 128 + b % 4 * 16 : b * 32);
    store128(low, load128(q));
    store128(low + (in_halves ? 64 : 16), load128(q + 16));
  }
  const __m128i zero = _mm_setzero_si128(); // up to two whole spans
  for (uint32_t b = blocks; b % (in_halves ? 8 : 4); b++) {
    int8_t *low = out + (in_halves ? b / 4 * 128 + b % 4 * 16 : b * 32);
    store128(low, zero);
    store128(low + (in_halves ? 64 : 16), zero);
  }
  if (w->kind == CURTA_WEIGHT_SIXES && w->group_scales)
    for (uint32_t b = 0; b < (blocks + 7) / 8 * 8; b += 4)
      store512(c->begins[b / 4], begins_of_sixes(out + b * 32));
}

void curta_vnni_rows(const curta_weight *w, const curta_codes *x, uint32_t t0, uint32_t t1,
                     uint32_t n0, uint32_t n1, int32_t *z, size_t z_stride) {
  some_rows *const some = rows_of(w, pattern_of(w));
  const uint32_t blocks = (w->columns + 31) / 32;
  // Blocks in a chunk.
  const int in_halves = curta_block_bytes(w->kind) < 32;
  const uint32_t most = in_halves || !w->group_scales ? BYTES / 32 : SCALED_BYTES / 32;
  const int64_t half = w->shift ? (int64_t)1 << (w->shift - 1) : 0;
  chunk c;
  c.w = w;
  for (uint32_t t = t0; t < t1; t++)
    for (uint32_t slab = n0; slab<n1; slab = blocks> most ? least(n1 - slab, SLAB) + slab : n1) {
      const uint32_t end = blocks > most ? least(n1 - slab, SLAB) + slab : n1;
      int64_t totals[SLAB];
      int32_t *out = z + (size_t)t * z_stride;
      for (uint32_t b = 0; b < blocks; b += most) {
        begin_chunk(&c, x, t, b, least(blocks - b, most));
        for (uint32_t n = slab; n < end;) {
          const uint32_t rows = least(end - n, ROWS);
          int64_t part[ROWS];
          some(&c, n, rows, part);
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
