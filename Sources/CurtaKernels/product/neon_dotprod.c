// Products with SDOT, the dot product instruction of ARMv8.2.
// SPDX-License-Identifier: Apache-2.0

#include "../kernels.h"
#include "tiled.h"

#if defined(__aarch64__)
#define CURTA_NEON_SDOT
#include "../neon.h"
#include "neon_panels.h"

#define EACH_ROW CURTA_UNROLL for (uint32_t r = 0; r < rows; r++)
#define EACH_TOKEN CURTA_UNROLL for (uint32_t t = 0; t < tokens; t++)

CURTA_NEON_INLINE void nibble_span(const uint8_t *const *row, const int8_t *const *q,
                                   const uint16_t *places, size_t b, uint32_t count, uint32_t rows,
                                   uint32_t tokens, int32x4_t *dots) {
  for (size_t j = 0; j < count; j++) {
    const size_t i = b + j, at = (places ? places[i] : i) * 32;
    int8x16x2_t c[2];
    EACH_ROW c[r] = unpacked(row[r] + i * 16);
    EACH_TOKEN {
      const int8x16_t x0 = vld1q_s8(q[t] + at), x1 = vld1q_s8(q[t] + at + 16);
      EACH_ROW {
        int32x4_t *dot = &dots[r * tokens + t];
        *dot = vdotq_s32(vdotq_s32(*dot, c[r].val[0], x0), c[r].val[1], x1);
      }
    }
  }
}

CURTA_NEON_INLINE void six_span(const uint8_t *const *row, const int8_t *const *q, size_t b,
                                uint32_t count, uint32_t rows, uint32_t tokens, int32x4_t *dots) {
  for (uint32_t j = 0; j < count; j++) {
    const size_t i = b + j;
    int8x16x2_t c[2];
    EACH_ROW c[r] = unpacked_sixes(row[r] + i * 24);
    EACH_TOKEN {
      const int8x16_t x0 = vld1q_s8(q[t] + i * 32), x1 = vld1q_s8(q[t] + i * 32 + 16);
      EACH_ROW {
        int32x4_t *dot = &dots[r * tokens + t];
        *dot = vdotq_s32(vdotq_s32(*dot, c[r].val[0], x0), c[r].val[1], x1);
      }
    }
  }
}

#include "neon_tile.h"

void curta_product_nibbles__neon_dotprod(const curta_weight *w, const curta_codes *x, uint32_t t0,
                                         uint32_t t1, uint32_t n0, uint32_t n1, int32_t *z,
                                         size_t z_stride, void *scratch) {
  if (curta_neon_panels_dotprod(w, x, t0, t1, n0, n1, z, z_stride, scratch))
    return;
  static const curta_tiles set = {nibbles_one, nibbles_four, offset_dot, NIBBLE_CHUNK, 0, finish};
  curta_product_tiled(w, x, t0, t1, n0, n1, z, z_stride, &set);
}

void curta_product_sixes__neon_dotprod(const curta_weight *w, const curta_codes *x, uint32_t t0,
                                       uint32_t t1, uint32_t n0, uint32_t n1, int32_t *z,
                                       size_t z_stride, void *scratch) {
  if (curta_neon_panels_dotprod(w, x, t0, t1, n0, n1, z, z_stride, scratch))
    return;
  static const curta_tiles set = {sixes_one, sixes_four, offset_dot, NIBBLE_CHUNK, 0, finish};
  curta_product_tiled(w, x, t0, t1, n0, n1, z, z_stride, &set);
}

void curta_product_bytes__neon_dotprod(const curta_weight *w, const curta_codes *x, uint32_t t0,
                                       uint32_t t1, uint32_t n0, uint32_t n1, int32_t *z,
                                       size_t z_stride, void *scratch) {
  if (curta_neon_panels_dotprod(w, x, t0, t1, n0, n1, z, z_stride, scratch))
    return;
  static const curta_tiles set = {bytes_one, bytes_four, offset_dot, BYTE_CHUNK, 0, finish};
  curta_product_tiled(w, x, t0, t1, n0, n1, z, z_stride, &set);
}

#endif
