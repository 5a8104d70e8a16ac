// Rows of packed codes of 6 bits for one token, for AVX2 and AVX-VNNI, as they lie in memory.
// SPDX-License-Identifier: Apache-2.0
//
// A span is two blocks: their first halves, then their second ones. The token's codes are laid in
// that order first.
//
// Before: SIXES, SIXES_INLINE: attributes of functions; avx2_sixes.h, and
//   begin_token(token, spans): what else of the token is laid;
//   begin_row(c, n, token, step): the lanes that row n begins with;
//   some_spans(lanes, row, token, s, few, step, two): adds scale * code * q of four blocks at
//   `row`, or of two, the token's spans s and s + 1, whose scales are `few`, one for each `step`
//   blocks; 8: none.

#ifndef CURTA_AVX2_SIXES_ROWS_H
#define CURTA_AVX2_SIXES_ROWS_H

enum { TOGETHER = 4 }; // rows whose sums are added up

/// Lays whole pairs of spans.
SIXES_INLINE void lay(const curta_chunk *c, laid_token *to) {
  const uint32_t blocks = (c->blocks + 3) / 4 * 4;
  for (uint32_t b = 0; b < blocks; b += 2) {
    const int there = b < c->blocks; // rows of codes are padded to 64
    const __m256i x = there ? load256(c->q[0] + b * 32) : _mm256_setzero_si256();
    const __m256i y = there ? load256(c->q[0] + b * 32 + 32) : _mm256_setzero_si256();
    store256(to->q + b * 32, _mm256_permute2x128_si256(x, y, 0x20));
    store256(to->q + b * 32 + 32, _mm256_permute2x128_si256(x, y, 0x31));
  }
  begin_token(to, blocks / 2);
}

/// The lanes of a row of the chunk.
SIXES_INLINE __m256i lanes_of(const curta_chunk *c, uint32_t n, const laid_token *token,
                              uint32_t step) {
  const curta_weight *w = c->w;
  const uint8_t *row = (const uint8_t *)w->codes + (size_t)n * w->row_bytes + c->first * 24;
  const uint8_t *scales = step == 8 ? 0 : w->group_scales + (size_t)n * w->groups + c->group;
  __m256i lanes = begin_row(c, n, token, step);
  uint32_t b = 0, few = 0;
  for (; b + 4 <= c->blocks; b += 4, row += 96) {
    fetch_ahead(row);
    fetch_ahead(row + 64);
    if (step != 8)
      __builtin_memcpy(&few, scales + b / step, 4 / step);
    lanes = some_spans(lanes, row, token, b / 2, few, step, 1);
  }
  if (c->blocks - b >= 2) {
    if (step != 8)
      __builtin_memcpy(&few, scales + b / step, step == 1 ? 2 : 1);
    lanes = some_spans(lanes, row, token, b / 2, few, step, 0);
    b += 2;
    row += 48;
  }
  if (b == c->blocks)
    return lanes;
  uint8_t last[48] = {0};
  __builtin_memcpy(last, row, 24);
  return some_spans(lanes, last, token, b / 2, step == 8 ? 0 : scales[b / step], step, 0);
}

SIXES_INLINE void rows_of(const curta_chunk *c, uint32_t n0, uint32_t n1, int64_t (*sums)[4],
                          uint32_t step) {
  laid_token token;
  lay(c, &token);
  for (uint32_t n = n0; n < n1; n += TOGETHER) {
    __m256i lanes[TOGETHER];
    int32_t all[TOGETHER];
    for (uint32_t r = 0; r < TOGETHER; r++)
      lanes[r] = lanes_of(c, n + r < n1 ? n + r : n1 - 1, &token, step);
    store128(all, sums_of_four(lanes));
    for (uint32_t r = 0; r < TOGETHER && n + r < n1; r++)
      sums[n - n0 + r][0] = all[r];
  }
}

/// Whether `sixes_one` takes a tensor.
static inline int takes_sixes(const curta_weight *w) {
  const uint32_t blocks = w->group_blocks;
  return !w->group_scales || blocks == 1 || blocks == 2 || blocks == 4;
}

SIXES static void sixes_one(const curta_chunk *c, uint32_t n0, uint32_t n1, int64_t (*sums)[4]) {
  if (!c->w->group_scales)
    rows_of(c, n0, n1, sums, 8);
  else if (c->w->group_blocks == 1)
    rows_of(c, n0, n1, sums, 1);
  else if (c->w->group_blocks == 2)
    rows_of(c, n0, n1, sums, 2);
  else
    rows_of(c, n0, n1, sums, 4);
}

#endif
