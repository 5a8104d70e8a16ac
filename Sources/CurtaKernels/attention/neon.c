// Attention of one query head over its positions with NEON.
// SPDX-License-Identifier: Apache-2.0

#include "../kernels.h"

#if defined(__aarch64__)
#include "../arithmetic.h"
#include "../neon.h"
#include "../unroll.h"
#include "neon_scores.h"

void curta_scores__neon(const int8_t *q, size_t q_stride, uint32_t rows, const int8_t *k,
                        uint32_t width, uint32_t n, int32_t *a, size_t a_stride) {
  all_scores(q, q_stride, rows, k, width, n, a, a_stride);
}

/// score_logits of any shifts.
static int32_t wide_logits(int32_t *a, const curta_scale *k, uint32_t n, uint32_t m, int32_t e) {
  const int32x4_t bound = vdupq_n_s32(1 << 30), factor = vdupq_n_s32((int32_t)m);
  int32x4_t most = vdupq_n_s32(INT32_MIN);
  uint32_t j = 0;
  for (; n - j >= 4; j += 4) {
    const uint32x4x2_t scale = vld2q_u32(&k[j].m); // m, e
    const int32x4_t x = vld1q_s32(a + j), km = vreinterpretq_s32_u32(scale.val[0]);
    // abs(score) <= 2^24
    const int32x2_t first = vrshrn_n_s64(vmull_s32(vget_low_s32(x), vget_low_s32(km)), 14);
    const int32x4_t score = vrshrn_high_n_s64(first, vmull_high_s32(x, km), 14);
    int32x4_t s = vaddq_s32(vreinterpretq_s32_u32(scale.val[1]), vdupq_n_s32(e));
    s = vnegq_s32(vminq_s32(vmaxq_s32(s, vdupq_n_s32(-14)), vdupq_n_s32(62)));
    const int64x2_t low = vmull_s32(vget_low_s32(score), vget_low_s32(factor));
    const int64x2_t high = vmull_high_s32(score, factor);
    const int32x2_t half = vqmovn_s64(vrshlq_s64(low, vmovl_s32(vget_low_s32(s))));
    int32x4_t t = vqmovn_high_s64(half, vrshlq_s64(high, vmovl_high_s32(s)));
    t = vmaxq_s32(vminq_s32(t, bound), vnegq_s32(bound));
    vst1q_s32(a + j, t);
    most = vmaxq_s32(most, t);
  }
  const int32_t x = vmaxvq_s32(most);
  const int32_t y = curta_score_logits__scalar(a + j, k + j, n - j, m, e); // INT32_MIN for none
  return x > y ? x : y;
}

int32_t curta_score_logits__neon(int32_t *a, const curta_scale *k, uint32_t n, uint32_t m,
                                 int32_t e) {
  // round(a * k.m, 14) is SQRDMULH of a * 2^2 and k.m * 2^15, within 2^24; floor(score * m / 2^10)
  // SQDMULH of score * 2^6 and m * 2^15. Shifts from 11 on round that, to less than 2^30.
  const int32_t factor = (int32_t)(m << 15);
  int32x4_t most = vdupq_n_s32(INT32_MIN);
  int32_t other = INT32_MIN;
  uint32_t j = 0;
  for (; n - j >= 16; j += 16) {
    int32x4_t t[4], s[4];
    CURTA_UNROLL for (uint32_t i = 0; i < 4; i++) {
      const uint32x4x2_t scale = vld2q_u32(&k[j + 4 * i].m); // m, e
      const int32x4_t km = vreinterpretq_s32_u32(vshlq_n_u32(scale.val[0], 15));
      const int32x4_t score = vqrdmulhq_s32(vshlq_n_s32(vld1q_s32(a + j + 4 * i), 2), km);
      t[i] = vqdmulhq_n_s32(vshlq_n_s32(score, 6), factor);
      s[i] = vaddq_s32(vreinterpretq_s32_u32(scale.val[1]), vdupq_n_s32(e));
    }
    const int32x4_t least = vminq_s32(vminq_s32(s[0], s[1]), vminq_s32(s[2], s[3]));
    if (vminvq_s32(least) < 11) {
      const int32_t x = wide_logits(a + j, k + j, 16, m, e);
      other = x > other ? x : other;
      continue;
    }
    CURTA_UNROLL for (uint32_t i = 0; i < 4; i++) {
      const int32x4_t count = vsubq_s32(vdupq_n_s32(10), vminq_s32(s[i], vdupq_n_s32(62)));
      t[i] = vrshlq_s32(t[i], count);
      vst1q_s32(a + j + 4 * i, t[i]);
      most = vmaxq_s32(most, t[i]);
    }
  }
  const int32_t x = vmaxvq_s32(most), y = wide_logits(a + j, k + j, n - j, m, e);
  other = y > other ? y : other; // INT32_MIN for none
  return x > other ? x : other;
}

void curta_code_logits__neon(int32_t *t, uint32_t n, int32_t max, const curta_score_code *code) {
  const int32x4_t top = vdupq_n_s32(max);
  uint32_t j = 0;
  for (; n - j >= 4; j += 4) {
    const uint32x4_t d = vreinterpretq_u32_s32(vsubq_s32(top, vld1q_s32(t + j)));
    int32x4_t level = vdupq_n_s32(code->level[0]);
    for (uint32_t c = 0; c < code->edges; c++)
      level = vbslq_s32(vcgeq_u32(d, vdupq_n_u32((uint32_t)code->edge[c])),
                        vdupq_n_s32(code->level[c + 1]), level);
    vst1q_s32(t + j, vsubq_s32(top, level));
  }
  curta_code_logits__scalar(t + j, n - j, max, code);
}

/// The first 32 entries of exp15's table less 2^14, which is the last one: past them TBL finds 0.
static inline uint8x16x4_t exp15_entries(void) {
  uint8x16x4_t table;
  CURTA_UNROLL for (uint32_t i = 0; i < 4; i++) table.val[i] =
      vreinterpretq_u8_u16(vsubq_u16(vld1q_u16(curta_exp15_table + 8 * i), vdupq_n_u16(1 << 14)));
  return table;
}

/// exp15(d).
static inline uint32x4_t exp15(uint8x16x4_t table, uint32x4_t d) {
  const uint32x4_t i = vandq_u32(vshrq_n_u32(d, 11), vdupq_n_u32(31));
  const uint32x4_t r = vandq_u32(d, vdupq_n_u32(2047));
  // The bytes of entries i and i + 1.
  const uint32x4_t at = vmlaq_n_u32(vdupq_n_u32(0x03020100), i, 0x02020202);
  const uint32x4_t two = vreinterpretq_u32_u8(vqtbl4q_u8(table, vreinterpretq_u8_u32(at)));
  const uint32x4_t high = vandq_u32(two, vdupq_n_u32(0xFFFF));
  const uint32x4_t fall = vsubq_u32(high, vshrq_n_u32(two, 16));
  const uint32x4_t part = vsubq_u32(high, vrshrq_n_u32(vmulq_u32(fall, r), 11));
  const uint32x4_t x = vaddq_u32(part, vdupq_n_u32(1 << 14));
  const uint32x4_t n = vminq_u32(vshrq_n_u32(d, 16), vdupq_n_u32(31));
  return vrshlq_u32(x, vnegq_s32(vreinterpretq_s32_u32(n)));
}

uint32_t curta_score_weights__neon(int32_t *t, const curta_scale *v, uint32_t n, int32_t max,
                                   uint64_t *total, int32_t *least) {
  const uint8x16x4_t table = exp15_entries();
  uint64x2_t sum = vdupq_n_u64(0);
  int32x4_t e0 = vdupq_n_s32(INT32_MAX);
  uint32_t j = 0;
  for (; n - j >= 4; j += 4) {
    const uint32x4x2_t scale = vld2q_u32(&v[j].m); // m, e
    const uint32x4_t w =
        exp15(table, vreinterpretq_u32_s32(vsubq_s32(vdupq_n_s32(max), vld1q_s32(t + j))));
    sum = vpadalq_u32(sum, w);
    e0 = vminq_s32(e0, vreinterpretq_s32_u32(scale.val[1]));
    vst1q_s32(t + j, vreinterpretq_s32_u32(vmulq_u32(w, scale.val[0])));
  }
  uint64_t rest_total;
  int32_t rest_least;
  curta_score_weights__scalar(t + j, v + j, n - j, max, &rest_total, &rest_least);
  const int32_t first = vminvq_s32(e0), lowest = first < rest_least ? first : rest_least;
  *total = vaddvq_u64(sum) + rest_total;
  *least = lowest;

  uint32x4_t most = vdupq_n_u32(0);
  for (j = 0; n - j >= 4; j += 4) {
    const uint32x4_t up = vsubq_u32(vld2q_u32(&v[j].m).val[1], vdupq_n_u32((uint32_t)lowest));
    const int32x4_t s = vreinterpretq_s32_u32(vminq_u32(up, vdupq_n_u32(31)));
    const uint32x4_t u = vreinterpretq_u32_s32(vld1q_s32(t + j));
    most = vmaxq_u32(most, vshlq_u32(u, vnegq_s32(s)));
  }
  uint32_t all = vmaxvq_u32(most);
  for (; j < n; j++) {
    const uint32_t up = (uint32_t)v[j].e - (uint32_t)lowest;
    const uint32_t x = (uint32_t)t[j] >> (up < 31 ? up : 31);
    all = x > all ? x : all;
  }
  return all;
}

void curta_narrow_weights__neon(const uint32_t *u, const curta_scale *v, uint32_t n, int32_t least,
                                uint32_t s, int16_t *c) {
  const uint32x4_t limit = vdupq_n_u32(62), base = vdupq_n_u32(s < 62 ? s : 62);
  uint32_t j = 0;
  for (; n - j >= 4; j += 4) {
    const uint32x4_t up = vsubq_u32(vld2q_u32(&v[j].m).val[1], vdupq_n_u32((uint32_t)least));
    const uint32x4_t down = vminq_u32(vaddq_u32(vminq_u32(up, limit), base), limit);
    const uint32x4_t x = vrshlq_u32(vld1q_u32(u + j), vnegq_s32(vreinterpretq_s32_u32(down)));
    vst1_s16(c + j, vmovn_s32(vreinterpretq_s32_u32(vminq_u32(x, vdupq_n_u32(32767)))));
  }
  curta_narrow_weights__scalar(u + j, v + j, n - j, least, s, c + j);
}

/// Adds eight products of a weight, which all lanes of c hold.
CURTA_NEON_INLINE void add_eight(int32x4_t *lanes, int16x8_t row, int16x8_t c) {
  lanes[0] = vmlal_s16(lanes[0], vget_low_s16(row), vget_low_s16(c));
  lanes[1] = vmlal_high_s16(lanes[1], row, c);
}

/// As weighted_sum.h asks.
CURTA_NEON_INLINE void add_columns(const int16_t *c, size_t c_stride, uint32_t count,
                                   const int8_t *v, uint32_t width, uint32_t n, uint32_t eights,
                                   int64_t *o) {
  int32x4_t lanes[16];
  CURTA_UNROLL for (uint32_t i = 0; i < 2 * count * eights; i++) lanes[i] = vdupq_n_s32(0);
  for (uint32_t j = 0; j < n; j++) {
    const int8_t *row = v + (size_t)j * width;
    int16x8_t x[8];
    if (eights == 1)
      x[0] = vmovl_s8(vld1_s8(row));
    else
      CURTA_UNROLL for (uint32_t i = 0; i < eights; i += 2) {
        const int8x16_t both = vld1q_s8(row + 8 * i);
        x[i] = vmovl_s8(vget_low_s8(both));
        x[i + 1] = vmovl_high_s8(both);
      }
    CURTA_UNROLL for (uint32_t r = 0; r < count; r++) {
      int16x8_t weight = vdupq_n_s16(c[r * c_stride + j]);
      // Else clang 21 sees equal halves and takes EXT, SMLAL for SMLAL2.
      __asm__("" : "+w"(weight));
      CURTA_UNROLL for (uint32_t i = 0; i < eights; i++)
          add_eight(lanes + 2 * (r * eights + i), x[i], weight);
    }
  }
  CURTA_UNROLL for (uint32_t r = 0; r < count; r++)
      CURTA_UNROLL for (uint32_t i = 0; i < 2 * eights; i++) {
    const int32x4_t sums = lanes[2 * r * eights + i];
    int64_t *at = o + (size_t)r * width + 4 * i;
    vst1q_s64(at, vaddw_s32(vld1q_s64(at), vget_low_s32(sums)));
    vst1q_s64(at + 2, vaddw_high_s32(vld1q_s64(at + 2), sums));
  }
}

#define CURTA_WEIGHTED CURTA_NEON_INLINE
#include "weighted_sum.h"

void curta_weighted_sum__neon(const int16_t *c, size_t c_stride, uint32_t rows, const int8_t *v,
                              uint32_t width, uint32_t n, int64_t *o) {
  weighted_sums(c, c_stride, rows, v, width, n, o);
}

uint32_t curta_scaled_sums__neon(const int64_t *o, uint32_t n, uint32_t r, int32_t *y) {
  int64x2_t any = vdupq_n_s64(0);
  uint32_t i = 0;
  for (; n - i >= 2; i += 2)
    any = vorrq_s64(any, vabsq_s64(vld1q_s64(o + i)));
  uint64_t all = (uint64_t)(vgetq_lane_s64(any, 0) | vgetq_lane_s64(any, 1));
  if (i < n)
    all |= (uint64_t)(o[i] < 0 ? -o[i] : o[i]);
  const uint32_t bits = curta_bits(all), s = bits > 15 ? bits - 15 : 0;
  const int64x2_t count = vdupq_n_s64(-(int64_t)s);
  const int32x4_t most = vdupq_n_s32(32767), least = vdupq_n_s32(-32767);
  for (i = 0; n - i >= 4; i += 4) {
    const int32x2_t low = vmovn_s64(vrshlq_s64(vld1q_s64(o + i), count));
    const int32x4_t z = vmovn_high_s64(low, vrshlq_s64(vld1q_s64(o + i + 2), count));
    vst1q_s32(y + i, vmulq_n_s32(vmaxq_s32(vminq_s32(z, most), least), (int32_t)r));
  }
  for (; i < n; i++)
    y[i] = (int32_t)curta_clamp(curta_round(o[i], s), 32767) * (int32_t)r;
  return s;
}

#endif
