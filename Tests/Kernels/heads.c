// Checks and benchmarks of the attention kernels.
// SPDX-License-Identifier: Apache-2.0

#include "driver.h"

static const uint32_t widths[] = {1,  2,  3,  5,  7,  8,  12, 15, 16, 17,  24,  31,  32,
                                  33, 40, 48, 56, 63, 64, 65, 80, 96, 112, 128, 129, 256};
enum { WIDTHS = sizeof widths / sizeof *widths };
static const uint32_t long_counts[] = {255, 511, 512, 513, 1025, 3000};
enum { COUNTS = 40 + 6 };
static uint32_t count(uint32_t i) { return i < 40 ? i : long_counts[i - 40]; }

static int8_t *codes(size_t n, enum pattern pattern) {
  int8_t *p = input_buffer(n, 1);
  for (size_t i = 0; i < n; i++)
    p[i] = (int8_t)sample(pattern, i, -127, 127);
  return p;
}

static curta_scale *scales(uint32_t n, int32_t low, int32_t high) {
  curta_scale *p = input_buffer(n * sizeof *p, 4);
  for (uint32_t i = 0; i < n; i++) {
    const uint32_t kind = random_below(4);
    p[i].m = kind == 0 ? 65535 : kind == 1 ? 32768 : 32768 + random_below(32768);
    p[i].e = (int32_t)random_between(low, high);
  }
  return p;
}

void check_scores(const curta_kernels *set) {
  for (uint32_t at = 0; at < WIDTHS; at++)
    for (uint32_t i = 0; i < 42; i++)
      for (enum pattern pattern = 0; pattern < 4; pattern++, release_buffers()) {
        const uint32_t width = widths[at], n = count(i);
        const uint32_t rows = i % 3 ? 1 : random_below(18), q_stride = width + random_below(5);
        const int8_t *q = codes((size_t)q_stride * rows, i % 2 ? pattern : RANDOM);
        const int8_t *k = codes((size_t)width * n, pattern);
        const size_t bytes = (size_t)(n + 1) * rows * 4;
        int32_t *want = output_buffer(bytes), *got = output_buffer(bytes);
        curta_scores__scalar(q, q_stride, rows, k, width, n, want, n + 1);
        set->scores(q, q_stride, rows, k, width, n, got, n + 1);
        expect_same(got, want, bytes, set->name, "scores", width * 10000 + n);
      }
}

void bench_scores(const curta_kernels *set) {
  for (uint32_t width = 32; width <= 128; width *= 2) {
    const int8_t *q = codes(width, RANDOM), *k = codes((size_t)width * 1024, RANDOM);
    int32_t *a = output_buffer(1024 * 4);
    BENCH(set,
          width == 32   ? "scores width=32"
          : width == 64 ? "scores width=64"
                        : "scores width=128",
          "GMAC/s", width * 1024, set->scores(q, 0, 1, k, width, 1024, a, 0));
  }
  const int8_t *q = codes(64 * 16, RANDOM), *k = codes((size_t)64 * 256, RANDOM);
  int32_t *a = output_buffer(256 * 16 * 4);
  BENCH(set, "scores width=64, 16 queries", "GMAC/s", 64 * 256 * 16,
        set->scores(q, 64, 16, k, 64, 256, a, 256));
}

void check_score_logits(const curta_kernels *set) {
  static const int32_t ranges[][3] = {{0, 0, 20},
                                      {-5, 40, 0},
                                      {-20, 90, 0},
                                      {10, 20, -15},
                                      {-100, 200, 50},
                                      {-2000, 2000, 7},
                                      {INT32_MIN, INT32_MAX, 0},
                                      {INT32_MIN, INT32_MIN + 20, 0},
                                      {8, 60, 0}};
  for (uint32_t i = 1; i < COUNTS; i++)
    for (uint32_t r = 0; r < 9; r++)
      for (enum pattern pattern = 0; pattern < PATTERNS; pattern++, release_buffers()) {
        const uint32_t n = count(i);
        const curta_scale *k = scales(n, ranges[r][0], ranges[r][1]);
        int32_t *want = output_buffer(n * 4), *got = output_buffer(n * 4);
        for (uint32_t j = 0; j < n; j++)
          want[j] = got[j] = (int32_t)sample(pattern, j, -(1 << 22), 1 << 22);
        const uint32_t m = pattern == RANDOM ? 32768 + random_below(32768) : 65535;
        const int32_t a = curta_score_logits__scalar(want, k, n, m, ranges[r][2]);
        const int32_t b = set->score_logits(got, k, n, m, ranges[r][2]);
        expect(a == b, "%s score_logits largest n=%u", set->name, n);
        expect_same(got, want, n * 4, set->name, "score_logits", n);
      }
}

void bench_score_logits(const curta_kernels *set) {
  const curta_scale *k = scales(1024, 8, 10);
  int32_t *a = output_buffer(1024 * 4);
  memset(a, 0, 1024 * 4);
  BENCH(set, "score_logits", "Gelement/s", 1024, set->score_logits(a, k, 1024, 50000, 20));
}

void check_code_logits(const curta_kernels *set) {
  static const int32_t tops[] = {0, 1 << 30, -(1 << 30), 12345};
  for (uint32_t i = 0; i < COUNTS; i++)
    for (uint32_t step = 1; step <= 4; step++)
      for (uint32_t kind = 0; kind < 8; kind++, release_buffers()) {
        const uint32_t n = count(i);
        const uint32_t shift = kind == 0 ? 0 : kind == 1 ? 32767 : random_below(1u << (kind * 2));
        curta_score_code code;
        curta_make_score_code(2 + (i + kind) % 3, step, shift, &code);
        int32_t *want = output_buffer(n * 4), *got = output_buffer(n * 4);
        const int32_t max = tops[kind % 4];
        const int64_t room = (int64_t)max + (1 << 30);
        for (uint32_t j = 0; j < n; j++) {
          const uint32_t edge = random_below(code.edges);
          int64_t d = kind % 3
                          ? random_between(0, 18 << 16)
                          : code.edge[edge] - (int32_t)random_below(2); // both sides of an edge
          if (random_below(16) == 0)
            d = room;
          d = d < 0 ? 0 : d > room ? room : d;
          want[j] = got[j] = (int32_t)(max - d);
        }
        curta_code_logits__scalar(want, n, max, &code);
        set->code_logits(got, n, max, &code);
        expect_same(got, want, n * 4, set->name, "code_logits", n);
      }
}

void bench_code_logits(const curta_kernels *set) {
  int32_t *t = output_buffer(1024 * 4);
  for (uint32_t j = 0; j < 1024; j++)
    t[j] = -(int32_t)random_below(16 << 16);
  curta_score_code code;
  curta_make_score_code(4, 1, 256, &code);
  BENCH(set, "code_logits 4 bits", "Gelement/s", 1024, set->code_logits(t, 1024, 0, &code));
}

void check_score_weights(const curta_kernels *set) {
  static const int32_t ranges[][2] = {{0, 0}, {-5, 40}, {-100, 200}, {7, 9}, {-1000000, 1000000}};
  for (uint32_t i = 1; i < COUNTS; i++)
    for (uint32_t r = 0; r < 5; r++)
      for (enum pattern pattern = 0; pattern < PATTERNS; pattern++, release_buffers()) {
        const uint32_t n = count(i);
        const curta_scale *v = scales(n, ranges[r][0], ranges[r][1]);
        int32_t *want = output_buffer(n * 4), *got = output_buffer(n * 4);
        const int64_t low = r == 1 ? -(1 << 30) : -(1 << 20);
        const int32_t max = r == 1 ? 1 << 30 : 1 << 20;
        for (uint32_t j = 0; j < n; j++)
          want[j] = got[j] = (int32_t)sample(pattern, j, low, max);
        uint64_t totals[2] = {1, 2};
        int32_t leasts[2] = {3, 4};
        const uint32_t a = curta_score_weights__scalar(want, v, n, max, totals, leasts);
        const uint32_t b = set->score_weights(got, v, n, max, totals + 1, leasts + 1);
        expect(a == b && totals[0] == totals[1] && leasts[0] == leasts[1],
               "%s score_weights results n=%u", set->name, n);
        expect_same(got, want, n * 4, set->name, "score_weights", n);
      }
}

void bench_score_weights(const curta_kernels *set) {
  const curta_scale *v = scales(1024, 8, 10);
  int32_t *t = output_buffer(1024 * 4);
  memset(t, 0, 1024 * 4);
  uint64_t total = 0;
  int32_t least = 0;
  BENCH(set, "score_weights", "Gelement/s", 1024,
        set->score_weights(t, v, 1024, INT32_MAX, &total, &least));
}

void check_narrow_weights(const curta_kernels *set) {
  static const int32_t ranges[][2] = {{0, 0}, {-5, 40}, {-100, 200}, {7, 9}, {-1000000, 1000000}};
  for (uint32_t i = 0; i < COUNTS; i++)
    for (uint32_t r = 0; r < 5; r++)
      for (uint32_t s = 0; s <= 17; s += s % 2 ? 1 : 3, release_buffers()) {
        const uint32_t n = count(i);
        const curta_scale *v = scales(n, ranges[r][0], ranges[r][1]);
        uint32_t *u = input_buffer(n * 4, 4);
        for (uint32_t j = 0; j < n; j++)
          u[j] = (uint32_t)sample(s % 2 ? RANDOM : ANY_WIDTH, j, 0, INT32_MAX);
        int16_t *want = output_buffer(n * 2), *got = output_buffer(n * 2);
        curta_narrow_weights__scalar(u, v, n, ranges[r][0], s, want);
        set->narrow_weights(u, v, n, ranges[r][0], s, got);
        expect_same(got, want, n * 2, set->name, "narrow_weights", n);
      }
}

void bench_narrow_weights(const curta_kernels *set) {
  const curta_scale *v = scales(1024, 8, 10);
  uint32_t *u = input_buffer(1024 * 4, 0);
  memset(u, 5, 1024 * 4);
  int16_t *c = output_buffer(1024 * 2);
  BENCH(set, "narrow_weights", "Gelement/s", 1024, set->narrow_weights(u, v, 1024, 8, 13, c));
}

void check_weighted_sum(const curta_kernels *set) {
  static const uint32_t counts[] = {1, 2, 4, 7, 16, 21};
  for (uint32_t at = 0; at < WIDTHS; at++)
    for (uint32_t i = 0; i < COUNTS; i++)
      for (enum pattern pattern = 0; pattern < 4; pattern++, release_buffers()) {
        const uint32_t width = widths[at], n = count(i), rows = counts[(at + i + pattern) % 6];
        const size_t stride = n + at % 3, last = (rows - 1) * stride + n;
        int16_t *c = input_buffer(last * 2, 2);
        for (size_t j = 0; j < last; j++)
          c[j] = (int16_t)sample(pattern == LEAST ? MOST : pattern, (uint32_t)j, 0, 32767);
        const int8_t *v = codes((size_t)width * n, pattern);
        const size_t size = (size_t)rows * width * 8;
        int64_t *want = output_buffer(size), *got = output_buffer(size);
        curta_weighted_sum__scalar(c, stride, rows, v, width, n, want);
        set->weighted_sum(c, stride, rows, v, width, n, got);
        expect_same(got, want, size, set->name, "weighted_sum", width * 10000 + n);
      }
}

void bench_weighted_sum(const curta_kernels *set) {
  static const char *const names[] = {
      "weighted_sum width=32",         "weighted_sum width=64",
      "weighted_sum width=128",        "weighted_sum width=32 rows=16",
      "weighted_sum width=64 rows=16", "weighted_sum width=128 rows=16"};
  for (uint32_t i = 0; i < 6; i++) {
    const uint32_t width = 32u << i % 3, rows = i < 3 ? 1 : 16;
    int16_t *c = input_buffer((size_t)rows * 1024 * 2, 0);
    memset(c, 1, (size_t)rows * 1024 * 2);
    const int8_t *v = codes((size_t)width * 1024, RANDOM);
    int64_t *o = output_buffer((size_t)rows * width * 8);
    BENCH(set, names[i], "GMAC/s", rows * width * 1024,
          set->weighted_sum(c, 1024, rows, v, width, 1024, o));
  }
}

void check_scaled_sums(const curta_kernels *set) {
  for (uint32_t at = 0; at < WIDTHS; at++)
    for (uint32_t bits = 0; bits <= 47; bits++)
      for (enum pattern pattern = 0; pattern < PATTERNS; pattern++, release_buffers()) {
        const uint32_t n = widths[at], r = 32768 + random_below(32769);
        const int64_t most = ((int64_t)1 << bits) - 1;
        int64_t *o = input_buffer(n * 8, 8);
        for (uint32_t i = 0; i < n; i++)
          o[i] = sample(pattern, i, -most, most);
        int32_t *want = output_buffer(n * 4), *got = output_buffer(n * 4);
        const uint32_t a = curta_scaled_sums__scalar(o, n, r, want);
        const uint32_t b = set->scaled_sums(o, n, r, got);
        expect(a == b, "%s scaled_sums shift n=%u", set->name, n);
        expect_same(got, want, n * 4, set->name, "scaled_sums", n);
      }
}

void bench_scaled_sums(const curta_kernels *set) {
  int64_t *o = input_buffer(64 * 8, 0);
  for (uint32_t i = 0; i < 64; i++)
    o[i] = random_between(-(1 << 30), 1 << 30);
  int32_t *y = output_buffer(64 * 4);
  BENCH(set, "scaled_sums n=64", "Gelement/s", 64, set->scaled_sums(o, 64, 50000, y));
}
