// The libpng library, and zlib which it stands on.
// SPDX-License-Identifier: Apache-2.0
#include <png.h>
#include <zlib.h>
