// OpenBLAS: matrix products of the converter, and the Cholesky factor of its LAPACK.
// SPDX-License-Identifier: Apache-2.0
#include <cblas.h>

// Debian's OpenBLAS holds LAPACK but no header of it. Column-major; info > 0: not positive
// definite.
void dpotrf_(const char *uplo, const blasint *n, double *a, const blasint *lda, blasint *info);
