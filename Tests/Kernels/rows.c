// Checks and benchmarks of the kernels that pass over one row: quantize, gate, rotate.
// SPDX-License-Identifier: Apache-2.0

#include "driver.h"

/// Lengths: 0 ... 130 (past two tiles of 64), then some longer.
static const uint32_t longer[] = {255, 576, 1536, 4099};
enum { LENGTHS = 131 + 4 };
static uint32_t length(uint32_t i) { return i < 131 ? i : longer[i - 131]; }

/// Loops over every length and pattern.
#define EACH_ROW                                                                                   \
  for (uint32_t at = 0; at < LENGTHS; at++)                                                        \
    for (enum pattern pattern = 0; pattern < PATTERNS; pattern++, release_buffers())               \
      for (uint32_t n = length(at), once = 1; once; once = 0)

#define FILLER(name, type)                                                                         \
  static type *name(uint32_t n, enum pattern pattern, int64_t low, int64_t high) {                 \
    type *p = input_buffer((size_t)n * sizeof(type), sizeof(type));                                \
    for (uint32_t i = 0; i < n; i++)                                                               \
      p[i] = (type)sample(pattern, i, low, high);                                                  \
    return p;                                                                                      \
  }
FILLER(row_i8, int8_t)
FILLER(row_i16, int16_t)
FILLER(row_i32, int32_t)

enum { N = 4096 };
#define ELEMENTS(label, statement) BENCH(set, label, "Gelement/s", N, statement)

void check_centre(const curta_kernels *set) {
  EACH_ROW {
    if (n == 0)
      continue;
    const int32_t most = random_below(2) ? INT32_MAX : 1 << 20;
    int32_t *x = row_i32(n, pattern, -most, most);
    if (random_below(2)) // far from 0
      for (uint32_t i = 1; i < n; i++)
        x[i] = x[i] < 0 && most == INT32_MAX ? x[i] + INT32_MAX : x[i];
    int32_t *want = output_buffer(n * 4), *got = output_buffer(n * 4);
    memcpy(got, x, n * 4);
    curta_centre__scalar(x, n, want);
    set->centre(at % 2 ? got : x, n, got);
    expect_same(got, want, n * 4, set->name, "centre", n);
  }
}

void bench_centre(const curta_kernels *set) {
  const int32_t *x = row_i32(N, RANDOM, -(1 << 20), 1 << 20);
  int32_t *y = output_buffer(N * 4);
  ELEMENTS("centre", set->centre(x, N, y));
}

void check_maxabs_i32(const curta_kernels *set) {
  EACH_ROW {
    const int32_t *x = row_i32(n, pattern, -INT32_MAX, INT32_MAX);
    expect(set->maxabs_i32(x, n) == curta_maxabs_i32__scalar(x, n), "%s maxabs_i32 n=%u", set->name,
           n);
  }
}

void bench_maxabs_i32(const curta_kernels *set) {
  const int32_t *x = row_i32(N, RANDOM, -1000, 1000);
  volatile uint32_t sink = 0;
  ELEMENTS("maxabs_i32", sink = set->maxabs_i32(x, N));
  (void)sink;
}

void check_narrow(const curta_kernels *set) {
  EACH_ROW for (uint32_t s = 0; s <= 16; s++) {
    const int32_t *x = row_i32(n, pattern, INT32_MIN, INT32_MAX);
    int16_t *want = output_buffer(n * 2), *got = output_buffer(n * 2);
    curta_narrow__scalar(x, n, s, want);
    set->narrow(x, n, s, got);
    expect_same(got, want, n * 2, set->name, "narrow", n);
  }
}

void bench_narrow(const curta_kernels *set) {
  const int32_t *x = row_i32(N, RANDOM, -10000000, 10000000);
  int16_t *y = output_buffer(N * 2);
  ELEMENTS("narrow", set->narrow(x, N, 9, y));
}

void check_sum_squares(const curta_kernels *set) {
  EACH_ROW {
    const int16_t *y = row_i16(n, pattern, -32768, 32767);
    expect(set->sum_squares(y, n) == curta_sum_squares__scalar(y, n), "%s sum_squares n=%u",
           set->name, n);
  }
}

void bench_sum_squares(const curta_kernels *set) {
  const int16_t *y = row_i16(N, RANDOM, -32767, 32767);
  volatile uint64_t sink = 0;
  ELEMENTS("sum_squares", sink = set->sum_squares(y, N));
  (void)sink;
}

void check_multiply(const curta_kernels *set) {
  EACH_ROW {
    const int16_t *a = row_i16(n, pattern, -32768, 32767);
    const int16_t *b = row_i16(n, n % 2 ? RANDOM : pattern, -32768, 32767);
    int32_t *want = output_buffer(n * 4), *got = output_buffer(n * 4);
    curta_multiply__scalar(a, b, n, want);
    set->multiply(a, b, n, got);
    expect_same(got, want, n * 4, set->name, "multiply", n);
  }
}

void bench_multiply(const curta_kernels *set) {
  const int16_t *a = row_i16(N, RANDOM, -32767, 32767), *b = row_i16(N, RANDOM, -32767, 32767);
  int32_t *t = output_buffer(N * 4);
  ELEMENTS("multiply", set->multiply(a, b, N, t));
}

void check_product_bits(const curta_kernels *set) {
  EACH_ROW {
    const int32_t *x = row_i32(n, pattern, -INT32_MAX, INT32_MAX);
    const int16_t *c = row_i16(n, at % 2 ? ANY_WIDTH : pattern, -32768, 32767);
    expect(set->product_bits(x, c, n) == curta_product_bits__scalar(x, c, n),
           "%s product_bits n=%u", set->name, n);
  }
}

void bench_product_bits(const curta_kernels *set) {
  const int32_t *x = row_i32(N, RANDOM, -10000000, 10000000);
  const int16_t *c = row_i16(N, RANDOM, -32767, 32767);
  volatile uint32_t sink = 0;
  ELEMENTS("product_bits", sink = set->product_bits(x, c, N));
  (void)sink;
}

void check_narrow_product(const curta_kernels *set) {
  EACH_ROW for (uint32_t s = 0; s <= 32; s++) {
    // abs(x * c) < 2^(s + 30), and all of int32 for the largest shifts.
    const int64_t most = s < 17 ? ((int64_t)1 << (s + 15)) - 1 : INT32_MAX;
    const int32_t *x = row_i32(n, pattern, -most, most);
    const int16_t *c = row_i16(n, n % 2 ? RANDOM : pattern, -32768, 32767);
    int16_t *want = output_buffer(n * 2), *got = output_buffer(n * 2);
    curta_narrow_product__scalar(x, c, n, s, want);
    set->narrow_product(x, c, n, s, got);
    expect_same(got, want, n * 2, set->name, "narrow_product", n);
  }
}

void bench_narrow_product(const curta_kernels *set) {
  const int32_t *x = row_i32(N, RANDOM, -10000000, 10000000);
  const int16_t *c = row_i16(N, RANDOM, -32767, 32767);
  int16_t *y = output_buffer(N * 2);
  ELEMENTS("narrow_product", set->narrow_product(x, c, N, 24, y));
}

/// Compares a row, whatever is in y.
static void compare_spread(const curta_kernels *set, const int16_t *y, uint32_t n, uint32_t block) {
  int16_t *own = output_buffer(n * 2);
  int32_t *wide = output_buffer(n * 4);
  int8_t *want = output_buffer(n), *got = output_buffer(n);
  memcpy(own, y, n * 2);
  const uint32_t right = curta_spread__scalar(own, n, block, wide, want);
  memcpy(own, y, n * 2);
  expect(set->spread(own, n, block, wide, got) == right && output_intact(own, n * 2) &&
             output_intact(wide, n * 4),
         "%s spread n=%u block=%u", set->name, n, block);
  expect_same(got, want, n, set->name, "spread", n);
}

void check_spread(const curta_kernels *set) {
  static const uint32_t widths[] = {0,  1,  15,  16,  31,  32,  33,  48,  56,   64,
                                    96, 98, 100, 128, 384, 512, 588, 768, 1536, 4099};
  // Sums of 65535 and of -131071, whose blocks round to 32768 and to -32768.
  static const int16_t edges[2][5] = {{32767, 32767, 1, 0, 0},
                                      {-32767, -32767, -32767, -32767, -3}};
  for (uint32_t k = 0; k < sizeof widths / sizeof *widths; k++)
    for (uint32_t block = 0; block <= 256; block = block ? block * 2 : 2) {
      const uint32_t n = widths[k];
      if (block && n % block)
        continue;
      for (enum pattern pattern = 0; pattern < PATTERNS; pattern++)
        for (int64_t most = 32767; most > 0; most /= 11, release_buffers())
          compare_spread(set, row_i16(n, pattern, -most, most), n, block);
      for (uint32_t i = 0; i < 2 && n >= 8; i++, release_buffers()) {
        int16_t *y = input_buffer(n * 2, 2);
        memset(y, 0, n * 2);
        memcpy(y + random_below(n / 8) * 8, edges[i], sizeof edges[i]);
        compare_spread(set, y, n, block);
        for (uint32_t at = 0; at < n; at++)
          y[at] = (int16_t)-y[at];
        compare_spread(set, y, n, block);
      }
    }
}

void bench_spread(const curta_kernels *set) {
  int16_t *y = row_i16(N, RANDOM, -32767, 32767);
  int32_t *wide = output_buffer(N * 4);
  int8_t *q = output_buffer(N);
  ELEMENTS("spread", set->spread(y, N, 0, wide, q));
  ELEMENTS("spread hadamard=128", set->spread(y, N, 128, wide, q));
  BENCH(set, "spread n=32 hadamard=32", "Gelement/s", 32, set->spread(y, 32, 32, wide, q));
  BENCH(set, "spread n=64", "Gelement/s", 64, set->spread(y, 64, 0, wide, q));
  BENCH(set, "spread n=64 hadamard=64", "Gelement/s", 64, set->spread(y, 64, 64, wide, q));
}

void check_spread_rotated(const curta_kernels *set) {
  static const uint32_t widths[] = {2, 6, 16, 32, 40, 64, 80, 96, 128, 192, 256};
  for (uint32_t k = 0; k < sizeof widths / sizeof *widths; k++)
    for (uint32_t block = 0; block <= 256; block = block ? block * 2 : 1)
      for (uint32_t run = 0; run < 3 * PATTERNS && (!block || widths[k] % block == 0); run++) {
        const uint32_t n = widths[k], pairs = run % 3 ? n / 2 : random_below(n / 2 + 1);
        const enum pattern pattern = run / 3;
        const int64_t most = random_below(2) ? 32767 : 1 + random_below(2000);
        const int32_t *cosine = row_i32(pairs, pattern, -32767, 32767);
        const int32_t *sine = row_i32(pairs, run % 2 ? pattern : RANDOM, -32767, 32767);
        const int16_t *y = row_i16(n, pattern, -most, most);
        int16_t *own = output_buffer(n * 2);
        int32_t *wide = output_buffer(n * 4);
        int8_t *want = output_buffer(n), *got = output_buffer(n);
        for (uint32_t interleaved = 0; interleaved < 2; interleaved++) {
          memcpy(own, y, n * 2);
          const uint32_t right = curta_spread_rotated__scalar(own, n, cosine, sine, pairs,
                                                              interleaved, block, wide, want);
          memcpy(own, y, n * 2);
          expect(set->spread_rotated(own, n, cosine, sine, pairs, interleaved, block, wide, got) ==
                         right &&
                     output_intact(own, n * 2) && output_intact(wide, n * 4),
                 "%s spread_rotated n=%u block=%u", set->name, n, block);
          expect_same(got, want, n, set->name, "spread_rotated", n);
        }
        release_buffers();
      }
}

void bench_spread_rotated(const curta_kernels *set) {
  int16_t *y = row_i16(N, RANDOM, -32767, 32767);
  const int32_t *cosine = row_i32(64, RANDOM, -23170, 23170);
  const int32_t *sine = row_i32(64, RANDOM, -23170, 23170);
  int32_t *wide = output_buffer(N * 4);
  int8_t *q = output_buffer(N);
  BENCH(set, "spread_rotated n=64 hadamard=64", "Gelement/s", 64,
        set->spread_rotated(y, 64, cosine, sine, 32, 0, 64, wide, q));
  BENCH(set, "spread_rotated n=128 hadamard=128", "Gelement/s", 128,
        set->spread_rotated(y, 128, cosine, sine, 64, 0, 128, wide, q));
}

void check_block_sums(const curta_kernels *set) {
  for (uint32_t blocks = 0; blocks <= 70; blocks++)
    for (enum pattern pattern = 0; pattern < PATTERNS; pattern++, release_buffers()) {
      const uint32_t n = blocks * 32;
      const int8_t *q = row_i8(n, pattern, -127, 127);
      int16_t *want = output_buffer(blocks * 2), *got = output_buffer(blocks * 2);
      curta_block_sums__scalar(q, n, want);
      set->block_sums(q, n, got);
      expect_same(got, want, blocks * 2, set->name, "block_sums", n);
    }
}

void bench_block_sums(const curta_kernels *set) {
  const int8_t *q = row_i8(N, RANDOM, -127, 127);
  int16_t *sums = output_buffer(N / 32 * 2);
  ELEMENTS("block_sums", set->block_sums(q, N, sums));
}

static const int32_t shifts[] = {INT32_MIN, -40, -15, -14, -13, -1, 0,  1,  2,        9,
                                 12,        14,  15,  16,  17,  30, 31, 32, 33,       45,
                                 46,        47,  48,  61,  62,  63, 64, 90, INT32_MAX};
enum { SHIFTS = sizeof shifts / sizeof *shifts };
static const uint32_t multipliers[] = {0, 1, 32768, 46341, 65535};

void check_add_rescaled(const curta_kernels *set) {
  EACH_ROW for (uint32_t i = 0; i < SHIFTS; i++) {
    const uint32_t m = i % 2 ? multipliers[random_below(5)] : random_below(65536);
    const int32_t *z = random_below(2) ? row_i32(n, pattern, INT32_MIN, INT32_MAX)
                                       : row_i32(n, pattern, -(1 << 16), 1 << 16);
    int32_t *base = row_i32(n, pattern, -INT32_MAX, INT32_MAX);
    const int32_t most = random_below(2) ? INT32_MAX : 1 << 29; // with it nothing is cut off
    for (uint32_t j = 0; j < n; j++)
      base[j] = (int32_t)sample(j % 3 ? RANDOM : pattern, j, -most, most);
    int32_t *want = output_buffer(n * 4), *got = output_buffer(n * 4);
    memcpy(got, base, n * 4);
    curta_add_rescaled__scalar(want, base, z, n, m, shifts[i]);
    set->add_rescaled(got, i % 3 ? got : base, z, n, m, shifts[i]);
    expect_same(got, want, n * 4, set->name, "add_rescaled", n);
  }
}

void bench_add_rescaled(const curta_kernels *set) {
  const int32_t *z = row_i32(N, RANDOM, -(1 << 18), 1 << 18);
  int32_t *sum = output_buffer(N * 4);
  memset(sum, 0, N * 4);
  ELEMENTS("add_rescaled", set->add_rescaled(sum, sum, z, N, 50000, 14));
}

void check_activate(const curta_kernels *set) {
  EACH_ROW for (uint32_t i = 0; i < SHIFTS; i++) {
    const uint32_t m = i % 2 ? multipliers[random_below(5)] : random_below(65536);
    const uint16_t *table = curta_activation_entries(1 + (at + i) % 5);
    // Of half of the rows all is small: less than 2^19 when rescaled by 17 or more.
    const int32_t most = random_below(2) ? INT32_MAX : 1 << 20;
    const int32_t *zg = row_i32(n, pattern, -most - 1, most);
    int32_t *want = output_buffer(n * 4), *got = output_buffer(n * 4);
    curta_activate__scalar(zg, n, m, shifts[i], table, want);
    set->activate(zg, n, m, shifts[i], table, got);
    expect_same(got, want, n * 4, set->name, "activate", n);
  }
}

void bench_activate(const curta_kernels *set) {
  const int32_t *zg = row_i32(N, RANDOM, -(1 << 25), 1 << 25);
  int32_t *a = output_buffer(N * 4);
  ELEMENTS("activate", set->activate(zg, N, 50000, 23, curta_sigmoid_table, a));
}
