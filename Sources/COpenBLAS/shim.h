// OpenBLAS: matrix products of the converter; Cholesky factors and eigenvectors of its LAPACK.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cblas.h>

// Debian's OpenBLAS holds LAPACK but no header of it. Column-major; info > 0: not positive
// definite.
void dpotrf_(const char *uplo, const blasint *n, double *a, const blasint *lda, blasint *info);
// b [nrhs][n] becomes the solutions of a x = b; info > 0: a is not positive definite.
void dposv_(const char *uplo, const blasint *n, const blasint *nrhs, double *a, const blasint *lda,
            double *b, const blasint *ldb, blasint *info);
// The inverse from the factor of dpotrf_.
void dpotri_(const char *uplo, const blasint *n, double *a, const blasint *lda, blasint *info);
// Eigenvalues il ... iu of the symmetric a, ascending, in w, their vectors in the columns of z; a
// is lost.
void dsyevr_(const char *jobz, const char *range, const char *uplo, const blasint *n, double *a,
             const blasint *lda, const double *vl, const double *vu, const blasint *il,
             const blasint *iu, const double *abstol, blasint *m, double *w, double *z,
             const blasint *ldz, blasint *isuppz, double *work, const blasint *lwork,
             blasint *iwork, const blasint *liwork, blasint *info);

// The name of the kernels that suit this processor, for OPENBLAS_CORETYPE; NULL: leave it to
// OpenBLAS.
static inline const char *curta_blas_kernels(void) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
    return "SkylakeX";
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    return "Haswell";
#endif
  return 0;
}
