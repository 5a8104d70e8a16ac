// PNG through libpng's simplified interface, and gzip through zlib.
// SPDX-License-Identifier: Apache-2.0

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <png.h>
#include <zlib.h>

#include "curta_image_files.h"

int32_t curta_read_png(const uint8_t *bytes, size_t count, curta_picture *picture) {
  png_image image;
  memset(&image, 0, sizeof image);
  image.version = PNG_IMAGE_VERSION;
  picture->pixels = NULL;
  picture->message[0] = 0;
  if (!png_image_begin_read_from_memory(&image, bytes, count)) {
    snprintf(picture->message, sizeof picture->message, "%s", image.message);
    return CURTA_PICTURE_DAMAGED;
  }
  picture->width = image.width;
  picture->height = image.height;
  if (image.width > picture->largest_side || image.height > picture->largest_side ||
      (uint64_t)image.width * image.height > picture->largest_area) {
    png_image_free(&image);
    return CURTA_PICTURE_TOO_LARGE;
  }
  // 16 bits are as sRGB, as most writers mean them; alpha stays, and nobody looks at it.
  image.flags |= PNG_IMAGE_FLAG_16BIT_sRGB;
  if (image.format & PNG_FORMAT_FLAG_ALPHA) {
    image.format = PNG_FORMAT_RGBA;
    picture->channels = 4;
  } else if (image.format & PNG_FORMAT_FLAG_COLOR) {
    image.format = PNG_FORMAT_RGB;
    picture->channels = 3;
  } else {
    image.format = PNG_FORMAT_GRAY;
    picture->channels = 1;
  }
  picture->pixels = malloc((size_t)image.width * image.height * picture->channels);
  if (!picture->pixels) {
    png_image_free(&image);
    return CURTA_PICTURE_MEMORY;
  }
  if (!png_image_finish_read(&image, NULL, picture->pixels, 0, NULL)) {
    snprintf(picture->message, sizeof picture->message, "%s", image.message);
    curta_picture_free(picture);
    return CURTA_PICTURE_DAMAGED;
  }
  return CURTA_PICTURE_OK;
}

uint8_t *curta_gunzip(const uint8_t *bytes, size_t count, size_t limit, size_t *size) {
  z_stream stream;
  memset(&stream, 0, sizeof stream);
  if (count > UINT32_MAX || limit > UINT32_MAX || inflateInit2(&stream, 16 + MAX_WBITS) != Z_OK) {
    return NULL;
  }
  uint8_t *out = malloc(limit);
  if (!out) {
    inflateEnd(&stream);
    return NULL;
  }
  stream.next_in = (uint8_t *)bytes;
  stream.avail_in = (uInt)count;
  stream.next_out = out;
  stream.avail_out = (uInt)limit;
  const int result = inflate(&stream, Z_FINISH);
  *size = limit - stream.avail_out;
  inflateEnd(&stream);
  if (result == Z_STREAM_END)
    return out;
  free(out);
  return NULL;
}
