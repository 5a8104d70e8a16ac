// Checks and benchmarks of the overlay kernels.
// SPDX-License-Identifier: Apache-2.0

#include "driver.h"

enum { TOGETHER = CURTA_TURNED_TOKENS };

/// What is added to a tensor, one cell after the other, and an input.
typedef struct {
  curta_weight w;
  int64_t *added; // v * 2^p, [rows][columns]
  int8_t *codes;  // [tokens][stride]
  uint32_t tokens, stride;
} problem;

/// An overlay of outlier columns: `count` of them.
static void add_columns(problem *p, uint32_t count, uint32_t step, enum pattern pattern) {
  curta_weight *w = &p->w;
  uint32_t *list = input_buffer((size_t)count * 4, 0);
  int8_t *values = input_buffer((size_t)w->rows * count, 1);
  for (uint32_t k = 0, i = 0; i < count; k++)
    if (random_below(w->columns - k) < count - i)
      list[i++] = k;
  for (size_t i = 0; i < (size_t)w->rows * count; i++) {
    values[i] = (int8_t)sample(pattern, i, -127, 127);
    p->added[i / count * w->columns + list[i % count]] += (int64_t)values[i] * ((int64_t)1 << step);
  }
  w->outliers = count;
  w->outlier_step = step;
  w->outlier_columns = list;
  w->outlier_values = values;
}

/// A residual of about `percent` of the cells of some rows, none of others, at most 65535 in a row.
static void add_entries(problem *p, uint32_t percent, uint32_t step, enum pattern pattern) {
  curta_weight *w = &p->w;
  const size_t most = (size_t)w->rows * w->columns;
  uint32_t *starts = input_buffer(((size_t)w->rows + 1) * 4, 0);
  uint8_t *all_gaps = malloc(most);
  int8_t *all_values = malloc(most);
  size_t count = 0;
  for (uint32_t n = 0; n < w->rows; n++) {
    starts[n] = (uint32_t)count;
    const uint32_t share = random_below(5) ? percent : 0;
    uint32_t next = 0;
    for (uint32_t k = 0; k < w->columns && count - starts[n] < 65535; k++) {
      const int bridges = k - next == 255;
      if (!bridges && random_below(100) >= share)
        continue;
      const int8_t v = bridges ? 0 : (int8_t)sample(pattern, k, -127, 127);
      all_gaps[count] = (uint8_t)(k - next);
      all_values[count++] = v;
      next = k + 1;
      p->added[(size_t)n * w->columns + k] += (int64_t)v * ((int64_t)1 << step);
    }
  }
  starts[w->rows] = (uint32_t)count;
  uint8_t *gaps = input_buffer(count, 1);
  int8_t *values = input_buffer(count, 1);
  memcpy(gaps, all_gaps, count);
  memcpy(values, all_values, count);
  free(all_gaps);
  free(all_values);
  w->residual_step = step;
  w->residual_starts = starts;
  w->residual_gaps = gaps;
  w->residual_values = values;
}

static problem make_problem(uint32_t tokens, uint32_t rows, uint32_t columns,
                            enum pattern pattern) {
  problem p = {.tokens = tokens, .stride = (columns + 63) / 64 * 64};
  p.w.rows = rows;
  p.w.columns = columns;
  p.added = input_buffer((size_t)rows * columns * 8, 0);
  memset(p.added, 0, (size_t)rows * columns * 8);
  uint16_t *mantissas = input_buffer((size_t)rows * 2, 0);
  for (uint32_t n = 0; n < rows; n++)
    mantissas[n] = (uint16_t)(pattern == RANDOM ? random_between(1, 65535) : 65535);
  p.w.mantissas = mantissas;
  p.codes = input_buffer((size_t)tokens * p.stride, 0);
  memset(p.codes, 0, (size_t)tokens * p.stride);
  for (uint32_t t = 0; t < tokens; t++)
    for (uint32_t k = 0; k < columns; k++)
      p.codes[t * p.stride + k] = (int8_t)sample(pattern, t + k, -127, 127);
  return p;
}

/// shift(W) of a base of codes of 2 bits.
static void set_shift(problem *p) {
  uint64_t most = 0;
  for (uint32_t n = 0; n < p->w.rows; n++) {
    uint64_t sum = 0;
    for (uint32_t k = 0; k < p->w.columns; k++)
      sum += (uint64_t)llabs(p->added[(size_t)n * p->w.columns + k]);
    most = sum > most ? sum : most;
  }
  const uint64_t bound = 127 * (2 * (uint64_t)p->w.columns + most) * 65535;
  const uint32_t bits = 64 - (uint32_t)__builtin_clzll(bound);
  p->w.shift = bits > 30 ? bits - 30 : 0;
}

static int8_t *turned(const problem *p, const curta_kernels *set) {
  if (p->tokens == 1)
    return p->codes;
  int8_t *out = input_buffer((size_t)(p->tokens + 15) / 16 * 16 * p->stride, 1);
  for (uint32_t t = 0; t < p->tokens; t += TOGETHER) {
    const uint32_t left = p->tokens - t;
    set->turn_codes(p->codes + (size_t)t * p->stride, p->stride, left < 16 ? left : 16, p->stride,
                    out + (size_t)t * p->stride);
  }
  return out;
}

void check_turn_codes(const curta_kernels *set) {
  for (uint32_t columns = 16; columns <= 320; columns += 16)
    for (uint32_t rows = 1; rows <= 16; rows++) {
      const size_t stride = columns + random_below(40);
      int8_t *q = input_buffer(rows * stride, 1);
      for (size_t i = 0; i < rows * stride; i++)
        q[i] = (int8_t)random_between(-127, 127);
      int8_t *want = output_buffer((size_t)columns * 16),
             *got = output_buffer((size_t)columns * 16);
      for (uint32_t k = 0; k < columns; k++)
        for (uint32_t t = 0; t < 16; t++)
          want[k * 16 + t] = t < rows ? q[t * stride + k] : 0;
      set->turn_codes(q, stride, rows, columns, got);
      expect_same(got, want, (size_t)columns * 16, set->name, "turn_codes", columns);
      release_buffers();
    }
}

/// One range of rows, against the sums one column at a time.
static void check_problem(const problem *p, const curta_kernels *set, uint32_t n0, uint32_t n1) {
  const curta_weight *w = &p->w;
  const size_t stride = w->rows + 3, cells = p->tokens * stride;
  int32_t *want = output_buffer(cells * 4), *got = output_buffer(cells * 4);
  for (size_t i = 0; i < cells; i++)
    want[i] = got[i] = (int32_t)random_between(-(1 << 29), 1 << 29);
  for (uint32_t t = 0; t < p->tokens; t++)
    for (uint32_t n = n0; n < n1; n++) {
      int64_t sum = 0;
      for (uint32_t k = 0; k < w->columns; k++)
        sum += p->added[(size_t)n * w->columns + k] * p->codes[t * p->stride + k];
      sum *= w->mantissas[n];
      want[t * stride + n - n0] += (int32_t)(w->shift ? ((sum >> (w->shift - 1)) + 1) >> 1 : sum);
    }
  set->add_overlays(w, turned(p, set), p->stride, p->tokens, n0, n1, got, stride);
  expect(memcmp(got, want, cells * 4) == 0 && output_intact(got, cells * 4),
         "%s add_overlays K=%u T=%u n=%u..%u columns=%u residual=%d", set->name, w->columns,
         p->tokens, n0, n1, w->outliers, w->residual_starts != NULL);
}

void check_add_overlays(const curta_kernels *set) {
  static const uint32_t widths[] = {1, 2, 31, 64, 65, 255, 256, 257, 300, 577, 1536, 131072};
  static const enum pattern patterns[] = {RANDOM, MOST, LEAST, ALTERNATING};
  for (uint32_t k = 0; k < sizeof widths / sizeof *widths; k++)
    for (uint32_t kinds = 1; kinds < 4; kinds++)
      for (uint32_t i = 0; i < 16; i++) {
        const uint32_t columns = widths[k], large = columns > 5000;
        const uint32_t tokens = i % 4 == 0 ? 1 : 2 + random_below(large ? 18 : 40);
        const uint32_t rows = 1 + random_below(large ? 9 : 30);
        const enum pattern pattern = patterns[i / 4];
        problem p = make_problem(tokens, rows, columns, pattern);
        if (kinds & 1)
          add_columns(&p, i % 3 ? 1 + random_below(columns) : columns, random_below(16), pattern);
        if (kinds & 2)
          add_entries(&p, i % 3 ? 1 + random_below(20) : 100, random_below(16), pattern);
        set_shift(&p);
        const uint32_t n1 = 1 + random_below(rows);
        check_problem(&p, set, 0, rows);
        check_problem(&p, set, random_below(n1), n1);
        release_buffers();
      }
}

void bench_turn_codes(const curta_kernels *set) {
  const problem p = make_problem(16, 1, 1536, RANDOM);
  int8_t *out = output_buffer((size_t)16 * p.stride);
  BENCH(set, "turn_codes 16x1536", "GB/s", 16. * p.stride,
        set->turn_codes(p.codes, p.stride, 16, p.stride, out));
  release_buffers();
}

/// One per cent of the cells, beside the product of all of them in 4 bits.
void bench_add_overlays(const curta_kernels *set) {
  static _Alignas(64) uint8_t scratch[CURTA_PRODUCT_SCRATCH(CURTA_PRODUCT_TOKENS)];
  static const uint32_t layers[][2] = {{576, 576}, {576, 1536}, {4096, 4096}};
  for (uint32_t i = 0; i < 3; i++)
    for (uint32_t tokens = 1; tokens <= 64; tokens *= 64)
      for (uint32_t kind = 1; kind < 3; kind++) {
        const uint32_t rows = layers[i][0], columns = layers[i][1];
        problem p = make_problem(tokens, rows, columns, RANDOM);
        if (kind == 1)
          add_columns(&p, columns / 100, 4, RANDOM);
        else
          add_entries(&p, 1, 4, RANDOM);
        set_shift(&p);
        const int8_t *q = turned(&p, set);
        int32_t *z = output_buffer((size_t)tokens * rows * 4);
        memset(z, 0, (size_t)tokens * rows * 4);
        curta_weight dense = p.w;
        curta_codes x = {
            p.codes, input_buffer((size_t)tokens * p.stride / 16, 0), NULL, columns, p.stride, 1};
        memset(x.sums, 0, (size_t)tokens * p.stride / 16);
        uint8_t *codes = input_buffer((size_t)rows * ((columns + 31) / 32) * 16, 0);
        memset(codes, 0x5A, (size_t)rows * ((columns + 31) / 32) * 16);
        dense.codes = codes;
        dense.kind = CURTA_WEIGHT_NIBBLES;
        dense.row_bytes = (columns + 31) / 32 * 16;
        dense.groups = 1;
        dense.group_blocks = (columns + 31) / 32;
        double least[2] = {1, 1};
        for (int turn = 0; turn < 60; turn++)
          for (int m = 0; m < 2; m++) {
            const double start = seconds();
            if (m)
              set->add_overlays(&p.w, q, p.stride, tokens, 0, rows, z, rows);
            else
              set->product_nibbles(&dense, &x, 0, tokens, 0, rows, z, rows, scratch);
            const double took = seconds() - start;
            least[m] = took < least[m] ? took : least[m];
          }
        printf("%-14s add_overlays %s T=%u N=%u K=%u: %.1f us, product %.1f us: %.0f %%\n",
               set->name, kind == 1 ? "columns" : "residual", tokens, rows, columns, least[1] * 1e6,
               least[0] * 1e6, 100 * least[1] / least[0]);
        release_buffers();
      }
}
