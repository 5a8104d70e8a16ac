// OpenBLAS: matrix products of the converter, and the Cholesky factor of its LAPACK.
// SPDX-License-Identifier: Apache-2.0
#include <cblas.h>

// Debian's OpenBLAS holds LAPACK but no header of it. Column-major; info > 0: not positive
// definite.
void dpotrf_(const char *uplo, const blasint *n, double *a, const blasint *lda, blasint *info);
// b [nrhs][n] becomes the solutions of a x = b; info > 0: a is not positive definite.
void dposv_(const char *uplo, const blasint *n, const blasint *nrhs, double *a, const blasint *lda,
            double *b, const blasint *ldb, blasint *info);
// The inverse from the factor of dpotrf_.
void dpotri_(const char *uplo, const blasint *n, double *a, const blasint *lda, blasint *info);
