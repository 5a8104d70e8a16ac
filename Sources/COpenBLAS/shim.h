// OpenBLAS: matrix products of the converter.
// SPDX-License-Identifier: Apache-2.0
#include <cblas.h>
