// Which way up a photograph is.
// SPDX-License-Identifier: Apache-2.0

#ifndef CURTA_ORIENTATION_H
#define CURTA_ORIENTATION_H

#include "curta_image_files.h"

// The orientation, 1 ... 8, that the body of a JPEG's APP1 segment has (Exif 2.32, section 4.6.4,
// tag 0x0112); 1, upright, where there is none or it is damaged.
uint32_t curta_exif_orientation(const uint8_t *bytes, size_t count);

// Turns the pixels of a picture with this orientation upright. CURTA_PICTURE_OK or
// CURTA_PICTURE_MEMORY, and then nothing has changed.
int32_t curta_turn_upright(curta_picture *picture, uint32_t orientation);

#endif
