// Checks and benchmarks of the product kernels.
// SPDX-License-Identifier: Apache-2.0

#include "driver.h"

/// How the groups of a tensor are.
typedef struct {
  uint32_t blocks; // of 32 columns in a group; 0: the whole row
  int scales;
  int offsets;
} grouping;

static const grouping groupings[] = {{0, 0, 0}, {1, 1, 0}, {2, 1, 1}, {3, 1, 0}, {1, 1, 1},
                                     {2, 1, 0}, {4, 1, 1}, {8, 1, 0}, {9, 1, 1}, {5, 0, 0},
                                     {0, 1, 1}, {3, 1, 1}, {40, 1, 1}};
enum { GROUPINGS = sizeof groupings / sizeof *groupings };

/// A tensor, an input, and the codes of the tensor one by one.
typedef struct {
  curta_weight w;
  curta_codes x;
  uint32_t tokens;
  int16_t *codes;              // [rows][columns]
  uint8_t *survives;           // [strips][blocks], or NULL: every block does
  const uint8_t *cell_scales;  // [rows][groups] or NULL
  const int16_t *cell_offsets; // [rows][groups] or NULL
} problem;

static uint32_t bits_of(uint64_t x) { return x ? 64 - (uint32_t)__builtin_clzll(x) : 0; }

static uint32_t kind_shift(const curta_weight *w) {
  uint64_t c = 32767;
  if (w->kind != CURTA_WEIGHT_WIDE)
    c = w->kind == CURTA_WEIGHT_BYTES ? 127 : w->kind == CURTA_WEIGHT_NIBBLES ? 8 : 32;
  if (w->group_scales)
    c = c * 255 + (w->group_offsets ? 32767 : 0);
  const uint32_t bits = bits_of((uint64_t)127 * w->columns * c * 65535);
  return bits > 30 ? bits - 30 : 0;
}

static void make_input(problem *p, uint32_t columns, enum pattern pattern) {
  curta_codes *x = &p->x;
  x->width = columns;
  x->stride = (columns + 63) / 64 * 64;
  x->codes = input_buffer((size_t)p->tokens * x->stride, 0);
  x->sums = input_buffer((size_t)p->tokens * x->stride / 32 * 2, 0);
  memset(x->codes, 0, (size_t)p->tokens * x->stride);
  for (uint32_t t = 0; t < p->tokens; t++)
    for (uint32_t k = 0; k < columns; k++)
      x->codes[t * x->stride + k] = (int8_t)sample(pattern, t + k, -127, 127);
  curta_block_sums__scalar(x->codes, p->tokens * x->stride, x->sums);
}

/// Bytes of 32 codes.
static uint32_t block_bytes_of(uint32_t kind) {
  return kind == CURTA_WEIGHT_NIBBLES ? 16 : kind == CURTA_WEIGHT_SIXES ? 24 : 32;
}

/// Sets code k of a row.
static void put_code(uint32_t kind, uint8_t *row, uint32_t k, int16_t c) {
  uint8_t *block = row + k / 32 * block_bytes_of(kind);
  const uint32_t i = k % 32;
  if (kind == CURTA_WEIGHT_WIDE) {
    memcpy(row + 2 * k, &c, 2);
  } else if (kind == CURTA_WEIGHT_SIXES || kind == CURTA_WEIGHT_NIBBLES) {
    const int u = c + (kind == CURTA_WEIGHT_SIXES ? 32 : 8), low = u & 15, high = u >> 4;
    block[i % 16] = (uint8_t)(i < 16 ? (block[i] & 0xF0) | low : (block[i - 16] & 15) | low << 4);
    if (kind == CURTA_WEIGHT_SIXES)
      block[16 + i % 8] = (uint8_t)((block[16 + i % 8] & ~(3 << i / 8 * 2)) | high << i / 8 * 2);
  } else {
    row[k] = (uint8_t)c;
  }
}

static problem make_problem(uint32_t kind, uint32_t tokens, uint32_t rows, uint32_t columns,
                            grouping group, enum pattern of_codes, enum pattern of_input) {
  problem p = {.tokens = tokens};
  make_input(&p, columns, of_input);
  curta_weight *w = &p.w;
  const uint32_t blocks = (columns + 31) / 32;
  w->kind = kind;
  w->rows = rows;
  w->columns = columns;
  w->row_bytes = kind == CURTA_WEIGHT_WIDE ? columns * 2 : blocks * block_bytes_of(kind);
  w->group_blocks = group.blocks && group.blocks < blocks ? group.blocks : blocks;
  w->groups = (blocks + w->group_blocks - 1) / w->group_blocks;
  const int grid = kind != CURTA_WEIGHT_WIDE;
  const size_t cells = (size_t)rows * w->groups;

  uint16_t *mantissas = input_buffer((size_t)rows * 2, 0);
  for (uint32_t n = 0; n < rows; n++)
    mantissas[n] = (uint16_t)(of_codes == RANDOM ? random_between(1, 65535) : 65535);
  uint8_t *scales = input_buffer(cells, 1);
  int16_t *offsets = input_buffer(cells * 2, 2);
  for (size_t i = 0; i < cells; i++) {
    scales[i] = (uint8_t)sample(of_codes == LEAST ? MOST : of_codes, i, 0, 255);
    offsets[i] = (int16_t)sample(of_codes, i, -32767, 32767);
  }
  w->mantissas = mantissas;
  w->group_scales = grid && group.scales ? scales : NULL;
  w->group_offsets = grid && group.scales && group.offsets ? offsets : NULL;

  p.cell_scales = w->group_scales;
  p.cell_offsets = w->group_offsets;

  const int32_t most = kind == CURTA_WEIGHT_NIBBLES ? 7
                       : kind == CURTA_WEIGHT_BYTES ? 127
                       : kind == CURTA_WEIGHT_WIDE  ? 32767
                                                    : 31;
  const int32_t least = most < 127 ? -most - 1 : -most;
  uint8_t *bytes = input_buffer((size_t)rows * w->row_bytes, kind == CURTA_WEIGHT_WIDE ? 2 : 1);
  p.codes = input_buffer((size_t)rows * columns * 2, 0);
  memset(bytes, 0, (size_t)rows * w->row_bytes);
  for (uint32_t n = 0; n < rows; n++) {
    uint8_t *row = bytes + (size_t)n * w->row_bytes;
    for (uint32_t k = 0; k < (grid ? blocks * 32 : columns); k++) {
      const int16_t c = k < columns ? (int16_t)sample(of_codes, k, least, most) : 0;
      if (k < columns)
        p.codes[(size_t)n * columns + k] = c;
      put_code(kind, row, k, c);
    }
  }
  w->codes = bytes;
  w->shift = kind_shift(w);
  return p;
}

/// Leaves about `percent` of the blocks of a grid tensor whose groups are blocks or rows; of some
/// strips none or all, unless `even`.
static void mask_problem(problem *p, uint32_t percent, int even) {
  curta_weight *w = &p->w;
  const uint32_t blocks = (w->columns + 31) / 32, strips = (w->rows + 15) / 16;
  const size_t block_bytes = block_bytes_of(w->kind);
  uint32_t *starts = input_buffer((strips + 1) * 4, 0);
  uint16_t *kept = input_buffer((size_t)strips * blocks * 2, 0);
  p->survives = input_buffer((size_t)strips * blocks, 0);
  starts[0] = 0;
  for (uint32_t s = 0; s < strips; s++) {
    const uint32_t share =
        even || random_below(4) ? percent : 100 * random_below(2); // empty and whole ones
    starts[s + 1] = starts[s];
    for (uint32_t b = 0; b < blocks; b++) {
      p->survives[s * blocks + b] = random_below(100) < share;
      if (p->survives[s * blocks + b])
        kept[starts[s + 1]++] = (uint16_t)b;
    }
  }
  const size_t most = (size_t)starts[strips] * 16;
  uint8_t *codes = input_buffer(most * block_bytes, 1), *scales = input_buffer(most, 1);
  int16_t *offsets = input_buffer(most * 2, 2);
  size_t at = 0;
  for (uint32_t n = 0; n < w->rows; n++)
    for (uint32_t i = starts[n / 16]; i < starts[n / 16 + 1]; i++, at++) {
      memcpy(codes + at * block_bytes,
             (const uint8_t *)w->codes + (size_t)n * w->row_bytes + kept[i] * block_bytes,
             block_bytes);
      if (w->group_scales)
        scales[at] = w->group_scales[(size_t)n * w->groups + kept[i]];
      if (w->group_offsets)
        offsets[at] = w->group_offsets[(size_t)n * w->groups + kept[i]];
    }
  w->codes = codes;
  w->group_scales = w->group_scales ? scales : NULL;
  w->group_offsets = w->group_offsets ? offsets : NULL;
  w->mask_blocks = kept;
  w->mask_starts = starts;
}

/// z as curta-arithmetic.md section 2 says it, one column at a time.
static int32_t by_the_page(const problem *p, uint32_t t, uint32_t n) {
  const curta_weight *w = &p->w;
  int64_t sum = 0;
  for (uint32_t k = 0; k < w->columns; k++) {
    if (p->survives && !p->survives[(n / 16) * ((w->columns + 31) / 32) + k / 32])
      continue;
    const size_t cell = (size_t)n * w->groups + k / 32 / w->group_blocks;
    int64_t value = p->codes[(size_t)n * w->columns + k];
    value *= p->cell_scales ? p->cell_scales[cell] : 1;
    value += p->cell_offsets ? p->cell_offsets[cell] : 0;
    sum += value * p->x.codes[t * p->x.stride + k];
  }
  sum *= w->mantissas[n];
  return (int32_t)(w->shift ? ((sum >> (w->shift - 1)) + 1) >> 1 : sum);
}

typedef void product(const curta_weight *w, const curta_codes *x, uint32_t t0, uint32_t t1,
                     uint32_t n0, uint32_t n1, int32_t *z, size_t z_stride, void *scratch);
static _Alignas(64) uint8_t scratch[CURTA_PRODUCT_SCRATCH(CURTA_PRODUCT_TOKENS)];

static void check_problem(const problem *p, product *variant, const char *set, const char *kernel,
                          int every_range) {
  const uint32_t rows = p->w.rows, tokens = p->tokens;
  int32_t *want = output_buffer((size_t)tokens * rows * 4);
  for (uint32_t t = 0; t < tokens; t++)
    for (uint32_t n = 0; n < rows; n++)
      want[t * rows + n] = by_the_page(p, t, n);
  const size_t stride = rows + 3;
  const size_t cells = tokens * stride;
  int32_t *got = output_buffer(cells * 4);
  for (uint32_t t1 = every_range ? 1 : tokens; t1 <= tokens; t1++)
    for (uint32_t n1 = every_range ? 1 : rows; n1 <= rows; n1++) {
      const uint32_t t0 = every_range ? random_below(t1) : 0;
      const uint32_t n0 = every_range ? random_below(n1) : 0;
      memset(got, 0xA5, cells * 4);
      variant(&p->w, &p->x, t0, t1, n0, n1, got, stride, scratch);
      int ok = output_intact(got, cells * 4);
      for (uint32_t t = 0; t < tokens; t++)
        for (uint32_t i = 0; i < stride; i++) {
          const int inside = t >= t0 && t < t1 && i < n1 - n0;
          const int32_t right = inside ? want[t * rows + n0 + i] : (int32_t)0xA5A5A5A5;
          ok &= got[t * stride + i] == right;
        }
      expect(ok, "%s %s K=%u t=%u..%u n=%u..%u group=%u scales=%d offsets=%d masked=%d", set,
             kernel, p->w.columns, t0, t1, n0, n1, p->w.group_blocks, p->w.group_scales != NULL,
             p->w.group_offsets != NULL, p->survives != NULL);
    }
  release_buffers();
}

static void check_product(const curta_kernels *set, product *variant, uint32_t kind,
                          const char *kernel) {
  static const enum pattern patterns[][2] = {{RANDOM, RANDOM},    {MOST, MOST},
                                             {LEAST, MOST},       {LEAST, LEAST},
                                             {MOST, ALTERNATING}, {ALTERNATING, ALTERNATING}};
  const uint32_t kinds_of_group = kind == CURTA_WEIGHT_WIDE ? 1 : GROUPINGS;
  static const uint32_t longer[] = {256, 288, 576, 1536, 4100, 40001, 131072};
  // What the frame does with widths, bytes have shown: of small codes some are enough.
  const uint32_t by = kind == CURTA_WEIGHT_SMALL || kind == CURTA_WEIGHT_SIXES ? 3 : 1;
  for (uint32_t k = 1; k <= 130 + sizeof longer / sizeof *longer; k += k < 130 ? by : 1)
    for (uint32_t g = 0; g < kinds_of_group; g++) {
      const uint32_t columns = k <= 130 ? k : longer[k - 131];
      const int large = columns > 5000;
      const uint32_t tried = large ? 6 : 2;
      for (uint32_t i = 0; i < tried; i++) {
        const uint32_t at = large ? i : i * (1 + random_below(5));
        const uint32_t tokens = large ? 1 + i % 5 : 9, rows = large ? 1 + i % 3 : 9;
        const problem p = make_problem(kind, tokens, rows, columns, groupings[g], patterns[at][0],
                                       patterns[at][1]);
        check_problem(&p, variant, set->name, kernel, !large);
      }
    }
  // Tiles of tokens and rows, whole and partial, in several chunks of columns.
  for (uint32_t i = 0; i < 4 * kinds_of_group; i++) {
    const problem p =
        make_problem(kind, 1 + random_below(70), 1 + random_below(70), 1 + random_below(1700),
                     groupings[i / 4], RANDOM, patterns[random_below(6)][1]);
    check_problem(&p, variant, set->name, kernel, 0);
  }
  // Tokens enough for panels, sums as large as they get.
  for (uint32_t i = 0; i < 12 * kinds_of_group; i++) {
    const uint32_t columns = i % 12 < 6 ? 1 + random_below(130) : longer[random_below(7)];
    const problem p = make_problem(kind, 12 + random_below(8), columns > 5000 ? 3 : 20, columns,
                                   groupings[i / 12], patterns[i % 6][0], patterns[i % 6][1]);
    check_problem(&p, variant, set->name, kernel, columns < 50);
  }
  // Blocks whose sums are just within int16 and just beyond, beside one another.
  for (uint32_t i = 0; i < 24; i++) {
    const problem p = make_problem(kind, 9 + random_below(8), 8 + random_below(9),
                                   1 + random_below(700), groupings[i % 2], BLOCKS, BLOCKS);
    check_problem(&p, variant, set->name, kernel, 0);
  }
  // Sums just within int32 and just beyond, and scales too small for that.
  static const uint32_t edges[] = {2048, 2080, 8288, 8320, 9001};
  for (uint32_t i = 0; i < 10; i++) {
    const enum pattern of_codes = i < 5 ? LEAST : RANDOM, of_input = i < 5 ? MOST : RANDOM;
    const problem p = make_problem(kind, 13, 3, edges[i % 5], groupings[1], of_codes, of_input);
    check_problem(&p, variant, set->name, kernel, 0);
  }
  // More tokens and rows than share what is packed, several chunks of columns.
  for (uint32_t g = 0; g < kinds_of_group; g++) {
    const problem p = make_problem(kind, 250 + random_below(30), 250 + random_below(30),
                                   1 + random_below(900), groupings[g], RANDOM, RANDOM);
    check_problem(&p, variant, set->name, kernel, 0);
  }
  // Chunks of columns with tokens that pay for packing, as large as sums get.
  static const uint32_t several[] = {544, 1025, 2049, 4100, 131072};
  for (uint32_t g = 0; g < kinds_of_group; g++)
    for (uint32_t k = 0; k < sizeof several / sizeof *several; k++)
      for (uint32_t i = 0; i < 2; i++) {
        const int large = several[k] > 5000, many = several[k] == 2049 && i == 0;
        const uint32_t tokens = large ? 8 + i : many ? 110 : 5 + random_below(14);
        const uint32_t rows = large ? 3 : many ? 43 : 1 + random_below(48);
        const uint32_t at = large ? 1 + 2 * i : many ? 0 : random_below(6);
        const problem p = make_problem(kind, tokens, rows, several[k], groupings[g],
                                       patterns[at][0], patterns[at][1]);
        check_problem(&p, variant, set->name, kernel, 0);
      }
}

/// Masked tensors of strips whole and partial, chunks one and several.
static void check_masked(const curta_kernels *set, product *variant, uint32_t kind,
                         const char *kernel) {
  static const grouping tried[] = {{0, 0, 0}, {1, 1, 0}, {1, 1, 1}};
  static const uint32_t widths[] = {1, 31, 32, 33, 64, 100, 256, 577, 1536, 4100, 9000, 131072};
  static const enum pattern patterns[] = {RANDOM, MOST, LEAST, ALTERNATING};
  for (uint32_t k = 0; k < sizeof widths / sizeof *widths; k++)
    for (uint32_t g = 0; g < 3; g++)
      for (uint32_t i = 0; i < 4; i++) {
        const uint32_t rows = widths[k] > 2000 ? 18 : 1 + random_below(40);
        const uint32_t tokens = 1 + random_below(widths[k] > 2000 ? 5 : 9);
        problem p = make_problem(kind, tokens, rows, widths[k], tried[g], patterns[i],
                                 patterns[random_below(4)]);
        mask_problem(&p, 10 + random_below(90), 0);
        check_problem(&p, variant, set->name, kernel, widths[k] <= 2000);
      }
  // Tokens enough for panels, sums as large as they get.
  for (uint32_t i = 0; i < 36; i++) {
    const uint32_t columns = i < 18 ? 1 + random_below(130) : widths[6 + i % 6];
    problem p = make_problem(kind, 12 + random_below(8), 18, columns, tried[i % 3],
                             patterns[i / 3 % 4], patterns[random_below(4)]);
    mask_problem(&p, 10 + random_below(90), 0);
    check_problem(&p, variant, set->name, kernel, i < 18);
  }
  // Strips of one chunk beside strips of several, with tokens that pay for packing.
  for (uint32_t i = 0; i < 24; i++) {
    problem p = make_problem(kind, 5 + random_below(14), 1 + random_below(150),
                             i % 2 ? 600 + random_below(4000) : 4100, tried[i / 8],
                             patterns[random_below(4)], patterns[random_below(4)]);
    mask_problem(&p, i % 2 ? 20 : 50, 0);
    check_problem(&p, variant, set->name, kernel, 0);
  }
  for (uint32_t i = 0; i < 12; i++) {
    problem p = make_problem(kind, 1 + random_below(100), 90 + random_below(30),
                             300 + random_below(1500), tried[i / 4], RANDOM, RANDOM);
    mask_problem(&p, 50, 0);
    check_problem(&p, variant, set->name, kernel, 0);
  }
}

static void bench_product(const curta_kernels *set, product *variant, uint32_t kind,
                          const char *kernel) {
  static const grouping tried[] = {{0, 0, 0}, {1, 1, 0}, {2, 1, 0}, {2, 1, 1}, {4, 1, 0}};
  const int slow = set == &curta_kernels_scalar;
  const uint32_t rows = kind == CURTA_WEIGHT_NIBBLES ? 16384 : 8192,
                 columns = getenv("K") ? (uint32_t)atoi(getenv("K")) : 4096;
  for (uint32_t g = 0; g < (kind == CURTA_WEIGHT_WIDE || slow ? 1 : 5); g++) {
    static const uint32_t counts[] = {1, 4, 64, 256};
    const problem p = make_problem(kind, 256, rows, columns, tried[g], RANDOM, RANDOM);
    int32_t *z = output_buffer((size_t)256 * rows * 4);
    for (uint32_t i = 0; i < (slow ? 1 : 4); i++) {
      const uint32_t tokens = counts[i];
      char label[64];
      snprintf(label, sizeof label, "%s T=%u group=%u%s%s", kernel, tokens, 32 * tried[g].blocks,
               tried[g].scales ? " scales" : "", tried[g].offsets ? " offsets" : "");
      const uint32_t part = tokens == 1 ? rows : 1024; // all from memory, or from the caches
      if (tokens == 1)
        BENCH(set, "cached", "GB/s", 100. * p.w.row_bytes,
              variant(&p.w, &p.x, 0, tokens, 0, 100, z, rows, scratch));
      const double work = (double)part * (tokens == 1 ? p.w.row_bytes : (double)columns * tokens);
      BENCH(set, label, tokens == 1 ? "GB/s" : "GMAC/s", work,
            variant(&p.w, &p.x, 0, tokens, 0, part, z, rows, scratch));
    }
    release_buffers();
  }
}

/// Half of the blocks against all of them, turn by turn, on layers of vision transformers: DINOv2
/// ViT-S/14, DeiT-S and Examples/models/vit-cifar10, and of a language model, TinyLlama.
static void bench_masked(const curta_kernels *set, product *variant, uint32_t kind,
                         const char *kernel) {
  static const uint32_t layers[][3] = {{257, 384, 384},  {257, 1152, 384},  {257, 1536, 384},
                                       {257, 384, 1536}, {197, 384, 384},   {197, 1536, 384},
                                       {197, 384, 1536}, {65, 144, 144},    {65, 576, 144},
                                       {65, 144, 576},   {128, 2048, 2048}, {128, 5632, 2048}};
  enum { LAYERS = sizeof layers / sizeof *layers };
  static const grouping tried[] = {{0, 0, 0}, {1, 1, 0}};
  for (uint32_t i = 0; i < 2 * LAYERS && set != &curta_kernels_scalar; i++) {
    const uint32_t tokens = layers[i / 2][0], rows = layers[i / 2][1], columns = layers[i / 2][2];
    const problem dense = make_problem(kind, tokens, rows, columns, tried[i % 2], RANDOM, RANDOM);
    problem masked = dense;
    mask_problem(&masked, 50, 1);
    int32_t *z = output_buffer((size_t)tokens * rows * 4);
    double least[2] = {1, 1};
    for (int turn = 0; turn < 40; turn++)
      for (int m = 0; m < 2; m++) {
        const double start = seconds();
        variant(m ? &masked.w : &dense.w, &dense.x, 0, tokens, 0, rows, z, rows, scratch);
        const double took = seconds() - start;
        least[m] = took < least[m] ? took : least[m];
      }
    const double share =
        (double)masked.w.mask_starts[(rows + 15) / 16] / ((rows + 15) / 16 * ((columns + 31) / 32));
    printf("%-14s %s T=%u N=%u K=%u%s %.0f us, %.1f %% of the blocks %.0f us: %.2f times\n",
           set->name, kernel, tokens, rows, columns, i % 2 ? " group=32" : "", least[0] * 1e6,
           share * 100, least[1] * 1e6, least[0] / least[1]);
    release_buffers();
  }
}

static void check_kind(const curta_kernels *set, product *variant, uint32_t kind,
                       const char *kernel) {
  check_product(set, variant, kind, kernel);
  if (kind != CURTA_WEIGHT_WIDE && kind != CURTA_WEIGHT_SIXES)
    check_masked(set, variant, kind, kernel);
}

static void bench_kind(const curta_kernels *set, product *variant, uint32_t kind,
                       const char *kernel) {
  bench_product(set, variant, kind, kernel);
  if (kind != CURTA_WEIGHT_WIDE && kind != CURTA_WEIGHT_SIXES)
    bench_masked(set, variant, kind, kernel);
}

void check_product_nibbles(const curta_kernels *set) {
  check_kind(set, set->product_nibbles, CURTA_WEIGHT_NIBBLES, "product_nibbles");
}
void bench_product_nibbles(const curta_kernels *set) {
  bench_kind(set, set->product_nibbles, CURTA_WEIGHT_NIBBLES, "product_nibbles");
}

void check_product_sixes(const curta_kernels *set) {
  check_kind(set, set->product_sixes, CURTA_WEIGHT_SIXES, "product_sixes");
}
void bench_product_sixes(const curta_kernels *set) {
  bench_kind(set, set->product_sixes, CURTA_WEIGHT_SIXES, "product_sixes");
}

void check_product_bytes(const curta_kernels *set) {
  check_kind(set, set->product_bytes, CURTA_WEIGHT_BYTES, "product_bytes");
  check_kind(set, set->product_bytes, CURTA_WEIGHT_SMALL, "product_bytes small");
}
void bench_product_bytes(const curta_kernels *set) {
  bench_kind(set, set->product_bytes, CURTA_WEIGHT_BYTES, "product_bytes");
  bench_kind(set, set->product_bytes, CURTA_WEIGHT_SMALL, "product_bytes small");
}

void check_product_wide(const curta_kernels *set) {
  check_kind(set, set->product_wide, CURTA_WEIGHT_WIDE, "product_wide");
}
void bench_product_wide(const curta_kernels *set) {
  bench_kind(set, set->product_wide, CURTA_WEIGHT_WIDE, "product_wide");
}
