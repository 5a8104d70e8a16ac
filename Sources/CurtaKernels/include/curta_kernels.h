// The loops of the runtime: one table of functions for each instruction set, all equal bit for bit.
// SPDX-License-Identifier: Apache-2.0
//
// Integers only. `round(x, s)`, `rescale` and `clamp` are those of Formats/curta-arithmetic.md.
// Per-row scalars (scales, shifts, reciprocals) are computed by the caller.

#ifndef CURTA_KERNELS_H
#define CURTA_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/// The number m * 2^-e, 2^15 <= m < 2^16.
typedef struct {
  uint32_t m;
  int32_t e;
} curta_scale;

/// The levels of a code of attention weights and the edges between them, distances below the
/// largest score in units of 2^-16; both never fall.
typedef struct {
  uint32_t edges; // 3, 7 or 15; one level more
  int32_t edge[15];
  int32_t level[16];
} curta_score_code;

/// Rows of int8 codes. `stride` is `width` rounded up to 64; codes past `width` are 0.
typedef struct {
  int8_t *codes;       // [rows][stride]
  int16_t *sums;       // [rows][stride / 32], sum of each block of 32 codes
  curta_scale *scales; // [rows][scales_per_row]
  uint32_t width;
  uint32_t stride;
  uint32_t scales_per_row;
} curta_codes;

enum {
  CURTA_WEIGHT_NIBBLES = 4,   // blocks of 32 codes in 16 bytes, code + 8; grids with b <= 4
  CURTA_WEIGHT_SMALL = 6,     // as bytes, codes of -32 ... 31: b = 5, and masked b = 6
  CURTA_WEIGHT_BYTES = 8,     // int8 codes, row padded with 0 to a multiple of 32: b = 7, 8
  CURTA_WEIGHT_WIDE = 16,     // int16 codes, rows not padded
  CURTA_WEIGHT_SIXES = 24,    // blocks as the file has them, in 24 bytes, not masked: b = 6
  CURTA_STRIP_ROWS = 16,      // rows of a masked tensor that share their surviving blocks
  CURTA_PRODUCT_TOKENS = 264, // that a product works on together at most
  CURTA_TURNED_TOKENS = 16,   // whose codes of a column lie side by side for overlays
};

/// Bytes that a product of so many tokens works in.
#ifdef __x86_64__
#define CURTA_PRODUCT_SCRATCH(tokens) (27648 + 10368 * CURTA_PRODUCT_TILES(tokens))
#else
#define CURTA_PRODUCT_SCRATCH(tokens) (15360 + 6912 * CURTA_PRODUCT_TILES(tokens))
#endif
#define CURTA_PRODUCT_TILES(tokens)                                                                \
  ((((tokens) < CURTA_PRODUCT_TOKENS ? (tokens) : CURTA_PRODUCT_TOKENS) + 11) / 12)
static inline uint32_t curta_product_scratch(uint32_t tokens) {
  return CURTA_PRODUCT_SCRATCH(tokens);
}

/// A tensor as the product kernels read it.
///
/// With `mask_starts` it is masked: strip s of 16 rows has survivors[s] = mask_starts[s + 1] -
/// mask_starts[s] blocks of 32 columns, mask_blocks[mask_starts[s] ...], and every other cell adds
/// nothing. Then codes, group_scales and group_offsets are [strip][row of the strip][survivors[s]]
/// blocks; row_bytes is not used, a group is one block, or there are no group scales.
///
/// Overlays add v * 2^step * m to cells: outlier columns, and the entries of a residual. Entry
/// residual_starts[n] of row n is in column `gap`, each other one gap + 1 columns after the one
/// before.
typedef struct {
  const void *codes;            // [rows][row_bytes]
  const uint16_t *mantissas;    // [rows]
  const uint8_t *group_scales;  // [rows][groups], or NULL: 1
  const int16_t *group_offsets; // [rows][groups], or NULL: 0; needs group_scales
  uint32_t kind;                // CURTA_WEIGHT_...
  uint32_t rows;                // N
  uint32_t columns;             // K
  uint32_t row_bytes;
  uint32_t groups;       // G
  uint32_t group_blocks; // blocks of 32 columns in a group (of the whole row when G is 1)
  uint32_t shift;        // shift(W)
  int32_t exponent;
  const uint16_t *mask_blocks;     // [mask_starts[strips]], ascending in a strip
  const uint32_t *mask_starts;     // [strips + 1], or NULL: every block is there
  uint32_t outliers;               // columns; at most K
  uint32_t outlier_step;           // at most 15, as the other
  const uint32_t *outlier_columns; // [outliers]
  const int8_t *outlier_values;    // [rows][outliers]
  uint32_t residual_step;
  const uint32_t *residual_starts; // [rows + 1], at most 65535 apart, or NULL: no residual
  const uint8_t *residual_gaps;    // [residual_starts[rows]]
  const int8_t *residual_values;   // [residual_starts[rows]]
} curta_weight;

typedef struct {
  /// z[t * z_stride + n - n0] = round(S[t][n] * m[n], shift) for t0 <= t < t1, n0 <= n < n1, where
  /// S is the exact sum of curta-arithmetic.md section 2. Overwrites curta_product_scratch(t1 - t0)
  /// bytes of scratch, whose address is a multiple of 64. One for each weight kind, for small codes
  /// that of bytes.
  void (*product_nibbles)(const curta_weight *w, const curta_codes *x, uint32_t t0, uint32_t t1,
                          uint32_t n0, uint32_t n1, int32_t *z, size_t z_stride, void *scratch);
  void (*product_sixes)(const curta_weight *w, const curta_codes *x, uint32_t t0, uint32_t t1,
                        uint32_t n0, uint32_t n1, int32_t *z, size_t z_stride, void *scratch);
  void (*product_bytes)(const curta_weight *w, const curta_codes *x, uint32_t t0, uint32_t t1,
                        uint32_t n0, uint32_t n1, int32_t *z, size_t z_stride, void *scratch);
  void (*product_wide)(const curta_weight *w, const curta_codes *x, uint32_t t0, uint32_t t1,
                       uint32_t n0, uint32_t n1, int32_t *z, size_t z_stride, void *scratch);

  /// turned[k * 16 + t] = q[t * stride + k] for t < rows, else 0; rows <= 16, columns a multiple of
  /// 16.
  void (*turn_codes)(const int8_t *q, size_t stride, uint32_t rows, uint32_t columns,
                     int8_t *turned);
  /// z[t * z_stride + n - n0] += round(R[t][n] * m[n], shift) for t < tokens, n0 <= n < n1, where R
  /// is the sum over the overlays of curta-arithmetic.md section 2. `turned` has the codes of one
  /// token, [stride], or of several, sixteen together by turn_codes: [ceil(tokens /
  /// 16)][stride][16].
  void (*add_overlays)(const curta_weight *w, const int8_t *turned, uint32_t stride,
                       uint32_t tokens, uint32_t n0, uint32_t n1, int32_t *z, size_t z_stride);

  /// y[i] = clamp32(x[i] - mean), mean = floor((2 * (sum of x[i]) + n) / (2 * n)), n >= 1; y may be
  /// x.
  void (*centre)(const int32_t *x, uint32_t n, int32_t *y);
  /// Largest abs(x[i]); x[i] > INT32_MIN.
  uint32_t (*maxabs_i32)(const int32_t *x, uint32_t n);
  /// y[i] = clamp(round(x[i], s), 32767), 0 <= s <= 16.
  void (*narrow)(const int32_t *x, uint32_t n, uint32_t s, int16_t *y);
  /// Sum of y[i]^2.
  uint64_t (*sum_squares)(const int16_t *y, uint32_t n);
  /// t[i] = a[i] * b[i].
  void (*multiply)(const int16_t *a, const int16_t *b, uint32_t n, int32_t *t);
  /// bits of the largest abs(x[i] * c[i]); x[i] > INT32_MIN.
  uint32_t (*product_bits)(const int32_t *x, const int16_t *c, uint32_t n);
  /// y[i] = clamp(round(x[i] * c[i], s), 32767), 0 <= s <= 32; abs(x[i] * c[i]) <= 2^(s + 30).
  void (*narrow_product)(const int32_t *x, const int16_t *c, uint32_t n, uint32_t s, int16_t *y);
  /// Where block is not 0: y = block(H y), a Hadamard of `block` numbers after the other, block a
  /// power of two from 2 to 256 that divides n. Then q = quantize(y). Returns A, at least 1, and in
  /// its upper 16 bits the shift of block(H y). abs(y) <= 32767; overwrites y and wide [n].
  uint32_t (*spread)(int16_t *y, uint32_t n, uint32_t block, int32_t *wide, int8_t *q);
  /// Rotates `pairs` pairs of y by cosines and sines in Q15, interleaved (y[2i], y[2i+1]) or
  /// half-split (y[i], y[i+pairs]). Then, of what that makes, y = block(H y) with Hadamards of
  /// `block` numbers, a power of two up to 256 that divides n, or 0: none; and q = quantize(y).
  /// Returns A and the shift as spread. abs(y) <= 32767 before; overwrites y and wide [n].
  uint32_t (*spread_rotated)(int16_t *y, uint32_t n, const int32_t *cosine, const int32_t *sine,
                             uint32_t pairs, uint32_t interleaved, uint32_t block, int32_t *wide,
                             int8_t *q);
  /// sums[j] = sum of the 32 codes q[32 j ...]; n is a multiple of 32.
  void (*block_sums)(const int8_t *q, uint32_t n, int16_t *sums);

  /// sum[i] = clamp32(base[i] + rescale(z[i] * m, s)), m < 2^16, any s; sum may be base.
  void (*add_rescaled)(int32_t *sum, const int32_t *base, const int32_t *z, uint32_t n, uint32_t m,
                       int32_t s);
  /// a[i] = activate(table, clamp(rescale(zg[i] * m, s), 2^30)), m < 2^16, any s;
  /// 514 entries of at most 2^15, neighbours less than 2^15 apart.
  void (*activate)(const int32_t *zg, uint32_t n, uint32_t m, int32_t s, const uint16_t *table,
                   int32_t *a);

  /// Codes of q, k and v are within 127.
  /// a[r * a_stride + j] = sum over i < width of q[r * q_stride + i] * k[j * width + i], 0 <= j <
  /// n, 0 <= r < rows.
  void (*scores)(const int8_t *q, size_t q_stride, uint32_t rows, const int8_t *k, uint32_t width,
                 uint32_t n, int32_t *a, size_t a_stride);
  /// t[j] = clamp(rescale(round(a[j] * k[j].m, 14) * m, k[j].e + e), 2^30), in place of a[j];
  /// returns the largest. abs(a[j]) <= 2^22, n >= 1.
  int32_t (*score_logits)(int32_t *a, const curta_scale *k, uint32_t n, uint32_t m, int32_t e);
  /// t[j] = max - coded(max - t[j]); max is the largest t[j], abs(t[j]) <= 2^30.
  void (*code_logits)(int32_t *t, uint32_t n, int32_t max, const curta_score_code *code);
  /// u[j] = exp15(max - t[j]) * v[j].m, in place of t[j] (as uint32); *total = sum of exp15;
  /// *least = least v[j].e; returns the largest u[j] >> min(v[j].e - *least, 31).
  uint32_t (*score_weights)(int32_t *t, const curta_scale *v, uint32_t n, int32_t max,
                            uint64_t *total, int32_t *least);
  /// c[j] = min(32767, round(u[j], min(v[j].e - least + s, 62))).
  void (*narrow_weights)(const uint32_t *u, const curta_scale *v, uint32_t n, int32_t least,
                         uint32_t s, int16_t *c);
  /// o[r * width + i] = sum over j < n of c[r * c_stride + j] * v[j * width + i], 0 <= r < rows, c
  /// never negative.
  void (*weighted_sum)(const int16_t *c, size_t c_stride, uint32_t rows, const int8_t *v,
                       uint32_t width, uint32_t n, int64_t *o);
  /// y[i] = clamp(round(o[i], s), 32767) * r for s = max(0, bits(largest abs(o[i])) - 15), which is
  /// returned; abs(o[i]) < 2^47, r <= 2^16.
  uint32_t (*scaled_sums)(const int64_t *o, uint32_t n, uint32_t r, int32_t *y);

  const char *name; // "scalar", "avx2", "avxvnni", "avx512vnni", "amx", "neon",
                    // "neon_dotprod", "neon_i8mm"
} curta_kernels;

/// The sets compiled into this library, slowest first; `scalar` is the definition.
extern const curta_kernels curta_kernels_scalar;
uint32_t curta_kernels_count(void);
/// Set `i`, or NULL when this processor cannot run it.
const curta_kernels *curta_kernels_at(uint32_t i);
/// The fastest set that this processor can run.
const curta_kernels *curta_kernels_best(void);

// Tables of curta-arithmetic.md section 3.
/// Edges and levels of coded() with a code of 2 to 4 bits, a step of 1 to 4 and a shift below 2^15.
void curta_make_score_code(uint32_t bits, uint32_t step, uint32_t shift, curta_score_code *code);

extern const uint16_t curta_exp15_table[33];
extern const uint32_t curta_exp30_table[33];
extern const uint16_t curta_sigmoid_table[514];
extern const int16_t curta_sine_table[258];
extern const uint16_t curta_gelu_tanh_table[514];
extern const uint16_t curta_gelu_erf_table[514];
extern const uint16_t curta_quick_gelu_table[514];
extern const uint16_t curta_relu_table[514];

// Swift sees the arrays above as tuples; these are pointers to their first entries.
static inline const uint32_t *curta_exp30_entries(void) { return curta_exp30_table; }
static inline const int16_t *curta_sine_entries(void) { return curta_sine_table; }

/// The table of an activation by its number, 1 to 5.
static inline const uint16_t *curta_activation_entries(uint32_t activation) {
  switch (activation) {
  case 1:
    return curta_sigmoid_table;
  case 2:
    return curta_gelu_tanh_table;
  case 3:
    return curta_gelu_erf_table;
  case 4:
    return curta_quick_gelu_table;
  default:
    return curta_relu_table;
  }
}

#ifdef __cplusplus
}
#endif
#endif
