// The libjpeg-turbo library.
// SPDX-License-Identifier: Apache-2.0
#include <stddef.h>
#include <stdio.h>

#include <jpeglib.h>
