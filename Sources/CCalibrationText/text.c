// The bytes of calibration.txt.
// SPDX-License-Identifier: Apache-2.0

#include "curta_calibration_text.h"

#pragma clang diagnostic ignored "-Wc23-extensions"

static const char text[] = {
#embed "calibration.txt"
};

const char *curta_calibration_text(size_t *size) {
  *size = sizeof text;
  return text;
}
