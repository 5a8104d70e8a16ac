// Which way up a photograph is: the Exif orientation that cameras write, and the turning.
// SPDX-License-Identifier: Apache-2.0

#include <stdlib.h>
#include <string.h>

#include "orientation.h"

typedef struct {
  const uint8_t *bytes; // the TIFF header and what follows
  size_t count;
  int big; // most significant byte first
} tiff;

// `size` bytes (2 or 4) at `at`; the caller has checked that they are there.
static uint32_t number(const tiff *file, size_t at, size_t size) {
  uint32_t value = 0;
  for (size_t i = 0; i < size; i++) {
    value = value << 8 | file->bytes[file->big ? at + i : at + size - 1 - i];
  }
  return value;
}

uint32_t curta_exif_orientation(const uint8_t *bytes, size_t count) {
  static const uint8_t name[6] = {'E', 'x', 'i', 'f', 0, 0};
  if (count < sizeof name + 8 || memcmp(bytes, name, sizeof name) != 0)
    return 1;
  tiff file = {bytes + sizeof name, count - sizeof name, 0};
  if (file.bytes[0] != file.bytes[1] || (file.bytes[0] != 'I' && file.bytes[0] != 'M'))
    return 1;
  file.big = file.bytes[0] == 'M';
  const size_t directory = number(&file, 4, 4);
  if (number(&file, 2, 2) != 42 || directory > file.count - 2)
    return 1;
  const size_t entries = number(&file, directory, 2);
  for (size_t i = 0; i < entries && directory + 2 + 12 * (i + 1) <= file.count; i++) {
    const size_t entry = directory + 2 + 12 * i; // tag, type, count, value
    if (number(&file, entry, 2) != 0x0112)
      continue;
    const uint32_t value = number(&file, entry + 8, 2);
    const int is_short = number(&file, entry + 2, 2) == 3 && number(&file, entry + 4, 4) == 1;
    return is_short && value >= 1 && value <= 8 ? value : 1;
  }
  return 1;
}

int32_t curta_turn_upright(curta_picture *picture, uint32_t orientation) {
  if (orientation <= 1 || orientation > 8)
    return CURTA_PICTURE_OK;
  const size_t width = picture->width, height = picture->height, pixel = picture->channels;
  const int lies = orientation >= 5; // rows become columns
  const int from_right =
      orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const int from_below =
      orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  const size_t columns = lies ? height : width, rows = lies ? width : height;
  uint8_t *upright = malloc(width * height * pixel);
  if (!upright)
    return CURTA_PICTURE_MEMORY;
  uint8_t *target = upright;
  for (size_t y = 0; y < rows; y++) {
    for (size_t x = 0; x < columns; x++, target += pixel) {
      size_t column = lies ? y : x, row = lies ? x : y;
      column = from_right ? width - 1 - column : column;
      row = from_below ? height - 1 - row : row;
      memcpy(target, picture->pixels + (row * width + column) * pixel, pixel);
    }
  }
  free(picture->pixels);
  picture->pixels = upright;
  picture->width = (uint32_t)columns;
  picture->height = (uint32_t)rows;
  return CURTA_PICTURE_OK;
}
