// The frame of panels of 8 rows for many tokens, whatever instructions multiply.
// SPDX-License-Identifier: Apache-2.0
//
// The panels of a slab lie one after the other in the second-level cache, and pass by a tile of
// tokens in the first-level cache. Packing takes what a tile of 4 tokens takes and is paid once for
// all tokens.
//
// Proof that no int32 lane overflows: lanes are modulo 2^32 and end at the sum of a chunk. Without
// scales abs <= 127 * 127 * 2^17 < 2^31. With them nibbles and small codes are at most 32 * 127 *
// 255 * 2048 = 2 122 383 360 < 2^31, bytes 127 * 127 * 255 * 512 = 2 105 802 240.

#include "../kernels.h"

#if defined(__aarch64__)
#include "neon_panels_pack.h"

enum {
  SCALED_BYTES_CHUNK = 16,      // blocks at most of bytes with scales
  SLAB = 192,                   // packed blocks at most: 48 KiB of codes
  PANELS = 32,                  // in a slab at most
  CHUNKED_PANELS = 4,           // in a slab of several chunks, whose sums wait for the next one
  EACH = BLOCK + PANEL * 4 + 4, // bytes of a block with its scales and column
  MORE = PANELS * 4,            // bytes: a column after the last one of each panel
  SUMS = CHUNKED_PANELS * PANEL * (int)sizeof(int64_t), // bytes of each token
};

_Static_assert(MORE + (64 * EACH) + 12 * SUMS <= CURTA_PRODUCT_SCRATCH(12) &&
                   12 * SUMS <= CURTA_PRODUCT_SCRATCH(24) - CURTA_PRODUCT_SCRATCH(12),
               "room for a chunk of SDOT, and for the sums of all tokens");

/// sum * m of two rows.
CURTA_NEON_INLINE int64x2_t product(int64x2_t sum, uint32x2_t m) {
  const uint64x2_t low = vmull_u32(vreinterpret_u32_s32(vmovn_s64(sum)), m);
  const uint64x2_t high = vmull_u32(vreinterpret_u32_s32(vshrn_n_s64(sum, 32)), m); // mod 2^32
  return vreinterpretq_s64_u64(vaddq_u64(low, vshlq_n_u64(high, 32)));
}

CURTA_NEON void curta_neon_panels_deliver(const panel *p, const sink *to, uint32_t t,
                                          const int32_t *sums) {
  int64_t *all = p->sums[to->first + t];
  int32_t result[PANEL], *z = to->z + t * to->z_stride;
  CURTA_UNROLL for (uint32_t r = 0; r < PANEL; r += 2) {
    int64x2_t sum = vmovl_s32(vld1_s32(sums + r));
    if (!p->first)
      sum = vaddq_s64(sum, vld1q_s64(all + r));
    if (!p->last) {
      vst1q_s64(all + r, sum);
    } else {
      const int64x2_t exact = product(sum, vreinterpret_u32_s32(vld1_s32(p->mantissas + r)));
      vst1_s32(result + r, vmovn_s64(vrshlq_s64(exact, vdupq_n_s64(-(int64_t)to->shift))));
    }
  }
  for (uint32_t r = 0; p->last && r < p->rows; r++)
    z[r] = result[r];
}

/// Slab after slab: the next panels that there is room for, chunk after chunk.
static void run_slabs(const job *j, const curta_panel_way *way, void *scratch) {
  const curta_weight *w = j->w;
  const uint32_t tokens = j->t1 - j->t0;
  const uint32_t room =
      least(SLAB, (CURTA_PRODUCT_SCRATCH(tokens) - way->more - tokens * SUMS - MORE) / EACH);
  const uint32_t most =
      w->group_scales && w->kind == CURTA_WEIGHT_BYTES ? SCALED_BYTES_CHUNK : way->chunk;
  int8_t *const codes = (int8_t *)scratch + way->more;
  int64_t(*const sums)[PANEL] = (int64_t(*)[PANEL])(void *)(codes + room * BLOCK);
  int32_t(*const scales)[PANEL] = (int32_t(*)[PANEL])(void *)(sums + CHUNKED_PANELS * tokens);
  uint32_t *const columns = (uint32_t *)(void *)(scales + room);
  panel panels[PANELS];
  for (uint32_t n = j->n0; n < j->n1;) {
    uint32_t count = 0, used = 0, chunks = 1;
    for (; n < j->n1 && count < PANELS; count++) {
      const uint32_t blocks = source_of(w, n).blocks, own = blocks ? (blocks + most - 1) / most : 1;
      const uint32_t taken = (blocks + own - 1) / own;
      if (used + taken > room || (count >= CHUNKED_PANELS && (chunks > 1 || own > 1)))
        break;
      panel *p = panels + count;
      p->codes = codes + used * BLOCK;
      p->scales = scales + used;
      p->columns = columns + used + count;
      p->sums = sums + least(count, CHUNKED_PANELS - 1) * tokens;
      p->row = n;
      p->rows = least(j->n1 - n, w->mask_starts ? PANEL - n % PANEL : PANEL); // in one strip
      p->chunks = own;
      n += p->rows;
      used += taken;
      chunks = own > chunks ? own : chunks;
    }
    for (uint32_t chunk = 0; chunk < chunks; chunk++) {
      for (panel *p = panels; p < panels + count; p++)
        if (chunk < p->chunks)
          pack_panel(p, w, chunk, way);
      way->run(j, panels, count, chunk, scratch);
    }
  }
}

void curta_neon_panels(const curta_weight *w, const curta_codes *x, uint32_t t0, uint32_t t1,
                       uint32_t n0, uint32_t n1, int32_t *z, size_t z_stride,
                       const curta_panel_way *way, void *scratch) {
  for (uint32_t t = t0, tokens; t < t1; t += tokens) {
    tokens = least(t1 - t, CURTA_PRODUCT_TOKENS);
    const job j = {w, x, t, t + tokens, n0, n1, z + t * z_stride, z_stride};
    run_slabs(&j, way, scratch);
  }
}

#endif
