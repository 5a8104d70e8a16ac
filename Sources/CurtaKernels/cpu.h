// What the processor can run, asked at run time.
// SPDX-License-Identifier: Apache-2.0

#ifndef CURTA_CPU_H
#define CURTA_CPU_H

#if defined(__x86_64__)
/// 1 when the processor has AVX2 and the operating system saves its registers.
int curta_cpu_avx2(void);
/// 1 when it also has AVX-VNNI.
int curta_cpu_avxvnni(void);
/// 1 when it has AVX2 and AVX-512 F, BW, DQ, VL and VNNI, with their registers saved.
int curta_cpu_avx512vnni(void);
/// 1 when it also has AMX-INT8 and the operating system lets this process use tiles, which it is
/// asked here.
int curta_cpu_amx(void);
#elif defined(__aarch64__)
/// 1 when the processor has SDOT (FEAT_DotProd).
int curta_cpu_dotprod(void);
/// 1 when it also has SMMLA (FEAT_I8MM).
int curta_cpu_i8mm(void);
#endif

#endif
