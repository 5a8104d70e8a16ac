// The tables of kernels and the choice between them.
// SPDX-License-Identifier: Apache-2.0

#include "cpu.h"
#include "kernels.h"

/// Sets that are in, bit i for set i: a build may leave out some (`Tools/build-static --kernels`).
#ifndef CURTA_SETS
#define CURTA_SETS 255u
#endif
#define HAS(i) (CURTA_SETS >> (i)&1)

#define KERNEL(kernel, avx2, avxvnni, avx512vnni, amx, neon, neon_dotprod, neon_i8mm)              \
  .kernel = curta_##kernel##__scalar,
const curta_kernels curta_kernels_scalar = {
#include "kernels.inc"
    .name = "scalar"};
#undef KERNEL

#if defined(__x86_64__)

#define KERNEL(kernel, avx2, avxvnni, avx512vnni, amx, neon, neon_dotprod, neon_i8mm)              \
  .kernel = curta_##kernel##__##avx2,
static const curta_kernels kernels_avx2 = {
#include "kernels.inc"
    .name = "avx2"};
#undef KERNEL

#define KERNEL(kernel, avx2, avxvnni, avx512vnni, amx, neon, neon_dotprod, neon_i8mm)              \
  .kernel = curta_##kernel##__##avxvnni,
static const curta_kernels kernels_avxvnni = {
#include "kernels.inc"
    .name = "avxvnni"};
#undef KERNEL

#define KERNEL(kernel, avx2, avxvnni, avx512vnni, amx, neon, neon_dotprod, neon_i8mm)              \
  .kernel = curta_##kernel##__##avx512vnni,
static const curta_kernels kernels_avx512vnni = {
#include "kernels.inc"
    .name = "avx512vnni"};
#undef KERNEL

#define KERNEL(kernel, avx2, avxvnni, avx512vnni, amx, neon, neon_dotprod, neon_i8mm)              \
  .kernel = curta_##kernel##__##amx,
static const curta_kernels kernels_amx = {
#include "kernels.inc"
    .name = "amx"};
#undef KERNEL

uint32_t curta_kernels_count(void) { return 5; }

const curta_kernels *curta_kernels_at(uint32_t i) {
  switch (i) {
  case 0:
    return &curta_kernels_scalar;
  case 1:
    return HAS(1) && curta_cpu_avx2() ? &kernels_avx2 : 0;
  case 2:
    return HAS(2) && curta_cpu_avxvnni() ? &kernels_avxvnni : 0;
  case 3:
    return HAS(3) && curta_cpu_avx512vnni() ? &kernels_avx512vnni : 0;
  default:
    return i == 4 && HAS(4) && curta_cpu_amx() ? &kernels_amx : 0;
  }
}

#elif defined(__aarch64__)

#define KERNEL(kernel, avx2, avxvnni, avx512vnni, amx, neon, neon_dotprod, neon_i8mm)              \
  .kernel = curta_##kernel##__##neon,
static const curta_kernels kernels_neon = {
#include "kernels.inc"
    .name = "neon"};
#undef KERNEL

#define KERNEL(kernel, avx2, avxvnni, avx512vnni, amx, neon, neon_dotprod, neon_i8mm)              \
  .kernel = curta_##kernel##__##neon_dotprod,
static const curta_kernels kernels_neon_dotprod = {
#include "kernels.inc"
    .name = "neon_dotprod"};
#undef KERNEL

#define KERNEL(kernel, avx2, avxvnni, avx512vnni, amx, neon, neon_dotprod, neon_i8mm)              \
  .kernel = curta_##kernel##__##neon_i8mm,
static const curta_kernels kernels_neon_i8mm = {
#include "kernels.inc"
    .name = "neon_i8mm"};
#undef KERNEL

uint32_t curta_kernels_count(void) { return 4; }

const curta_kernels *curta_kernels_at(uint32_t i) {
  if (i == 0)
    return &curta_kernels_scalar;
  if (i == 1)
    return HAS(1) ? &kernels_neon : 0; // part of the aarch64 baseline
  if (i == 2)
    return HAS(2) && curta_cpu_dotprod() ? &kernels_neon_dotprod : 0;
  return i == 3 && HAS(3) && curta_cpu_i8mm() ? &kernels_neon_i8mm : 0;
}

#else

uint32_t curta_kernels_count(void) { return 1; }

const curta_kernels *curta_kernels_at(uint32_t i) { return i == 0 ? &curta_kernels_scalar : 0; }

#endif

const curta_kernels *curta_kernels_best(void) {
  const curta_kernels *best = &curta_kernels_scalar;
  for (uint32_t i = 1; i < curta_kernels_count(); i++) {
    const curta_kernels *set = curta_kernels_at(i);
    if (set)
      best = set;
  }
  return best;
}
