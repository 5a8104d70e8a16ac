// The inner loops of panels with SMULL and SMLAL.
// SPDX-License-Identifier: Apache-2.0
//
// In assembly, because processors in order wait for what comes too late, and compilers run out of
// registers when they are told an order:
//
//   v0 ... v2    codes of the three tokens, four columns in each 32-bit lane; v3 ... v5: the next
//   v6, v7       four columns of four rows each, as SDOT has them
//   v8 ... v19   int16 lanes: of rows 0 ... 3 for each token a low and a high half, of rows 4 ... 7
//   v20 ... v31  int32 lanes
//
// Proof that no int16 lane overflows, for codes q within 127. A lane takes 8 products of a block of
// 32 columns. nibbles: the whole dot product is at most 32 * 8 * 127 = 32512 < 2^15, whatever lanes
// are added. small with scales: 8 * 32 * 127 = 32512. Else a lane takes 8 products, or 4, where
// the largest sum of c^2 times that of q^2 is within 32767^2 (Cauchy), and otherwise 2: 2 * 127 *
// 127 = 32258.

#include "../kernels.h"

#if defined(__aarch64__)
#include "neon_panels_loops.h"

// clang-format off
#define LINE(text) "\t" text "\n"

/// Columns of four rows with those of a token: lanes begin with "smull" and go on with "smlal".
#define MULTIPLY(op, low, high, c, x)                    \
  LINE(op " v" #low ".8h, v" #c ".8b, v" #x ".8b")       \
  LINE(op "2 v" #high ".8h, v" #c ".16b, v" #x ".16b")

/// Four columns of the tokens x, y, z; brings what follows: the tokens' from `from`, the rows' from
/// c + low and c + high on. Does `more` and `end` in between.
#define STEP(op, x, y, z, from, next, low, high, more, end)                             \
  MULTIPLY(op, 8, 9, 6, x)    LINE("ld3r {" next "}, [" from "]")                       \
  MULTIPLY(op, 10, 11, 6, y)  LINE("add %[x], " from ", #12")                           \
  MULTIPLY(op, 12, 13, 6, z)  LINE("ldr q6, [%[c], #" #low "]")                         \
  more                                                                                  \
  MULTIPLY(op, 14, 15, 7, x)                                                            \
  MULTIPLY(op, 16, 17, 7, y)                                                            \
  MULTIPLY(op, 18, 19, 7, z)  LINE("ldr q7, [%[c], #" #high "]")                        \
  end
#define FIRST "v0.4s, v1.4s, v2.4s"
#define SECOND "v3.4s, v4.4s, v5.4s"
#define EVEN(op, low, high) STEP(op, 0, 1, 2, "%[x]", SECOND, low, high, , )
#define ODD(low, high) STEP("smlal", 3, 4, 5, "%[x]", FIRST, low, high, , )

/// A block: at the columns 8, 16 and 24 what is done before and how lanes go on; in the first four
/// columns, with tokens of the block before still to be done with, more and end.
#define BLOCK_OF(more, end, at8, op8, at16, op16, at24, op24)                           \
  STEP("smull", 0, 1, 2, "%[x]", SECOND, 16, 80, more, end)  ODD(32, 96)                \
  at8   EVEN(op8, 48, 112)    ODD(128, 192)                                             \
  at16  EVEN(op16, 144, 208)  ODD(160, 224)                                             \
  at24  EVEN(op24, 176, 240)                                                            \
  STEP("smlal", 3, 4, 5, "%[next]", FIRST, 256, 320, , )                                \
  LINE("add %[c], %[c], #256")

/// Where the next block of the tokens is.
#define FIND                                             \
  LINE("ldr %w[next], [%[k]], #4")                       \
  LINE("add %[next], %[turned], %[next]")
#define BEGIN                                            \
  LINE("mov %[x], %[next]")                              \
  LINE("ld3r {" FIRST "}, [%[x]]")                       \
  LINE("add %[x], %[x], #12")                            \
  LINE("ldr q6, [%[c]]")                                 \
  LINE("ldr q7, [%[c], #64]")
#define ZERO(a, b, c)                                    \
  LINE("movi v" #a ".4s, #0")                            \
  LINE("movi v" #b ".4s, #0")                            \
  LINE("movi v" #c ".4s, #0")
#define ADD_PAIRS(type, d, a, b) LINE("addp v" #d "." type ", v" #a "." type ", v" #b "." type)
#define STORE                                            \
  LINE("stp q20, q21, [%[sums]]")                        \
  LINE("stp q22, q23, [%[sums], #32]")                   \
  LINE("stp q24, q25, [%[sums], #64]")
#define REGISTERS                                                                       \
  "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v12",      \
  "v13", "v14", "v15", "v16", "v17", "v18", "v19", "v20", "v21", "v22", "v23", "v24",   \
  "v25", "v26", "v27", "v28", "v29", "v30", "v31", "memory", "cc"

// MARK: - Without scales

#define WIDEN(sum, lanes) LINE("sadalp v" #sum ".4s, v" #lanes ".8h")
#define WIDEN_ALL                                        \
  WIDEN(20, 8)  WIDEN(21, 9)  WIDEN(22, 10)              \
  WIDEN(23, 11) WIDEN(24, 12) WIDEN(25, 13)              \
  WIDEN(26, 14) WIDEN(27, 15) WIDEN(28, 16)              \
  WIDEN(29, 17) WIDEN(30, 18) WIDEN(31, 19)

/// Where the next block of the tokens is, and what decides how it is multiplied.
#define LOOK                                             \
  FIND                                                   \
  LINE("ldr %w[limit], [%[limits], #32]!")               \
  LINE("ldr %w[squares], [%[next], #96]")
/// The next block, if there is one.
#define CHOOSE                                           \
  LINE("cmp %[k], %[end]")                               \
  LINE("ccmp %w[squares], %w[limit], #2, ne")            \
  LINE("b.ls .Lwhole%=")                                 \
  LINE("cmp %[k], %[end]")                               \
  LINE("b.ne .Lparts%=")

CURTA_NEON void curta_neon_panel_plain(const panel *p, const int8_t *turned,
                                       const uint32_t *columns, int32_t (*sums)[PANEL]) {
  const int8_t *c = p->codes, *x, *next;
  const void *limits = p->scales;
  const uint32_t *k = columns;
  uint32_t limit, squares;
  __asm__ volatile(
      FIND BEGIN
      ZERO(20, 21, 22) ZERO(23, 24, 25) ZERO(26, 27, 28) ZERO(29, 30, 31)
      LINE("ldr %w[limit], [%[limits]]")
      LINE("ldr %w[squares], [%[next], #96]")
      LINE("cmp %w[squares], %w[limit]")
      LINE("b.hi .Lparts%=")

      ".Lwhole%=:\n"
      BLOCK_OF(, , LOOK, "smlal", , "smlal", , "smlal")
      WIDEN_ALL
      CHOOSE
      LINE("b .Lend%=")

      ".Lparts%=:\n"
      LINE("ldr %w[limit], [%[limits], #4]")
      LINE("cmp %w[squares], %w[limit]")
      LINE("b.hi .Lpairs%=")
      BLOCK_OF(, , LOOK, "smlal", WIDEN_ALL, "smull", , "smlal")
      WIDEN_ALL
      CHOOSE
      LINE("b .Lend%=")

      ".Lpairs%=:\n"
      BLOCK_OF(, , WIDEN_ALL LOOK, "smull", WIDEN_ALL, "smull", WIDEN_ALL, "smull")
      WIDEN_ALL
      CHOOSE

      ".Lend%=:\n"
      ADD_PAIRS("4s", 20, 20, 21) ADD_PAIRS("4s", 22, 22, 23) ADD_PAIRS("4s", 24, 24, 25)
      ADD_PAIRS("4s", 21, 26, 27) ADD_PAIRS("4s", 23, 28, 29) ADD_PAIRS("4s", 25, 30, 31)
      STORE
      : [c] "+r"(c), [x] "=&r"(x), [next] "=&r"(next), [limits] "+r"(limits), [k] "+r"(k),
        [limit] "=&r"(limit), [squares] "=&r"(squares)
      : [turned] "r"(turned), [end] "r"(columns + p->blocks + 1), [sums] "r"(sums)
      : REGISTERS);
}

// MARK: - Nibbles

#define WITH_SCALES                                                                     \
  : [c] "+r"(c), [x] "=&r"(x), [next] "=&r"(next), [scales] "+r"(scales), [k] "+r"(k)   \
  : [turned] "r"(turned), [end] "r"(columns + p->blocks + 1), [sums] "r"(sums)          \
  : REGISTERS

#define SCALE_PAIR(low, high, lanes)                     \
  LINE("smlal v" #low ".4s, v" #lanes ".4h, v29.4h")     \
  LINE("smlal2 v" #high ".4s, v" #lanes ".8h, v29.8h")

/// The block before, each row in a lane, and its scales; lanes 29 ... 31 are free then.
#define GATHER                                                                          \
  ADD_PAIRS("8h", 26, 26, 29) ADD_PAIRS("8h", 27, 27, 30) ADD_PAIRS("8h", 28, 28, 31)   \
  LINE("ldr q29, [%[scales]]")                                                          \
  LINE("add %[scales], %[scales], #32")
#define SCALE SCALE_PAIR(20, 21, 26) SCALE_PAIR(22, 23, 27) SCALE_PAIR(24, 25, 28)

CURTA_NEON void curta_neon_panel_nibbles(const panel *p, const int8_t *turned,
                                         const uint32_t *columns, int32_t (*sums)[PANEL]) {
  const int8_t *c = p->codes, *x, *next;
  const void *scales = p->scales;
  const uint32_t *k = columns;
  __asm__ volatile(
      FIND BEGIN
      ZERO(20, 21, 22) ZERO(23, 24, 25)
      ZERO(26, 27, 28) ZERO(29, 30, 31) // there is no block before the first one
      LINE("sub %[scales], %[scales], #32")

      ".Lblock%=:\n"
      BLOCK_OF(GATHER, SCALE, FIND, "smlal", , "smlal", , "smlal")
      LINE("cmp %[k], %[end]")
      ADD_PAIRS("8h", 26, 8, 9)   ADD_PAIRS("8h", 27, 10, 11) ADD_PAIRS("8h", 28, 12, 13)
      ADD_PAIRS("8h", 29, 14, 15) ADD_PAIRS("8h", 30, 16, 17) ADD_PAIRS("8h", 31, 18, 19)
      LINE("b.ne .Lblock%=")

      GATHER
      SCALE
      STORE
      WITH_SCALES);
}

// MARK: - Small codes by scales

#define TO_PAIRS(a, b)                                   \
  LINE("saddlp v" #a ".4s, v" #a ".8h")                  \
  LINE("saddlp v" #b ".4s, v" #b ".8h")
#define SCALE_FOUR(sum, lanes, by) LINE("mla v" #sum ".4s, v" #lanes ".4s, v" #by ".4s")

CURTA_NEON void curta_neon_panel_small(const panel *p, const int8_t *turned,
                                       const uint32_t *columns, int32_t (*sums)[PANEL]) {
  const int8_t *c = p->codes, *x, *next;
  const void *scales = p->scales;
  const uint32_t *k = columns;
  __asm__ volatile(
      FIND BEGIN
      ZERO(20, 21, 22) ZERO(23, 24, 25)

      ".Lblock%=:\n"
      BLOCK_OF(, , FIND, "smlal", , "smlal", , "smlal")
      TO_PAIRS(8, 9)    LINE("ldr q26, [%[scales]]")
      TO_PAIRS(10, 11)  LINE("add %[scales], %[scales], #32")
      TO_PAIRS(12, 13)  LINE("sshll2 v27.4s, v26.8h, #0")
      TO_PAIRS(14, 15)  LINE("sshll v26.4s, v26.4h, #0")
      TO_PAIRS(16, 17)  LINE("cmp %[k], %[end]")
      TO_PAIRS(18, 19)
      ADD_PAIRS("4s", 8, 8, 9)     ADD_PAIRS("4s", 10, 10, 11) ADD_PAIRS("4s", 12, 12, 13)
      ADD_PAIRS("4s", 14, 14, 15)  ADD_PAIRS("4s", 16, 16, 17) ADD_PAIRS("4s", 18, 18, 19)
      SCALE_FOUR(20, 8, 26)   SCALE_FOUR(22, 10, 26)  SCALE_FOUR(24, 12, 26)
      SCALE_FOUR(21, 14, 27)  SCALE_FOUR(23, 16, 27)  SCALE_FOUR(25, 18, 27)
      LINE("b.ne .Lblock%=")

      STORE
      WITH_SCALES);
}

#endif
