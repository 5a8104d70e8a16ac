// The text that conversions calibrate on unless they are given another.
// SPDX-License-Identifier: Apache-2.0

#ifndef CURTA_CALIBRATION_TEXT_H
#define CURTA_CALIBRATION_TEXT_H

#include <stddef.h>

/// UTF-8, not ended by NUL.
const char *curta_calibration_text(size_t *size);

#endif
