// Pictures out of files of other people's formats. For the tools alone: it takes memory from
// malloc. SPDX-License-Identifier: Apache-2.0

#ifndef CURTA_IMAGE_FILES_H
#define CURTA_IMAGE_FILES_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
  CURTA_PICTURE_OK = 0,
  CURTA_PICTURE_DAMAGED = 1,
  CURTA_PICTURE_TOO_LARGE = 2,
  CURTA_PICTURE_UNSUPPORTED = 3,
  CURTA_PICTURE_MEMORY = 4,
};

// A picture, and why there is none. A caller sets the limits and nothing else.
typedef struct curta_picture {
  uint32_t largest_side;
  uint64_t largest_area;
  uint32_t width;
  uint32_t height;
  uint32_t channels; // 1 grey; 3 red, green, blue; 4 with a fourth that nobody reads
  uint8_t *pixels;   // [height][width][channels], to be given to curta_picture_free; or NULL
  char message[256]; // what the library said
} curta_picture;

// Decode a whole file in memory. A JPEG comes upright, as its Exif orientation says; of a PNG none
// is read. The result is one of the numbers above; pixels are set for 0 alone.
int32_t curta_read_jpeg(const uint8_t *bytes, size_t count, curta_picture *picture);
int32_t curta_read_png(const uint8_t *bytes, size_t count, curta_picture *picture);
void curta_picture_free(curta_picture *picture);

// Unpacks a gzip file of at most `limit` bytes. Returns memory to be given to free(), or NULL.
uint8_t *curta_gunzip(const uint8_t *bytes, size_t count, size_t limit, size_t *size);

#ifdef __cplusplus
}
#endif

#endif
