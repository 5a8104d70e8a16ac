// Says what a .curta vision model sees in pictures: labels by their index, likeliest first.
// usage: classify MODEL.curta PICTURE.ppm...
// A line for each picture and label: path, label, score. Scores are whole numbers in units of
// 2^-16. SPDX-License-Identifier: Apache-2.0

#include "load.h"

#include <ctype.h>
#include <stdbool.h>

/// A picture in memory: [height][width][channels] bytes from the top down.
typedef struct {
  size_t width, height, channels; // channels 1: grey; 3: red, green, blue
  const uint8_t *pixels;
} picture;

/// One number of a PPM's head, behind white space and comments; 0 where there is none.
static size_t number(const uint8_t *bytes, size_t size, size_t *at) {
  while (*at < size && (isspace(bytes[*at]) || bytes[*at] == '#')) {
    if (bytes[*at] == '#')
      while (*at + 1 < size && bytes[*at] != '\n')
        (*at)++;
    (*at)++;
  }
  size_t value = 0;
  for (; *at < size && isdigit(bytes[*at]) && value < 100000; (*at)++)
    value = 10 * value + (size_t)(bytes[*at] - '0');
  return value;
}

/// The picture in a binary PPM (P6) or PGM (P5) of 8 bits, which `djpeg` and `pngtopnm` write.
static bool read_ppm(const uint8_t *bytes, size_t size, picture *image) {
  if (size < 2 || bytes[0] != 'P' || (bytes[1] != '5' && bytes[1] != '6'))
    return false;
  size_t at = 2;
  image->channels = bytes[1] == '6' ? 3 : 1;
  image->width = number(bytes, size, &at);
  image->height = number(bytes, size, &at);
  const bool bytewise = number(bytes, size, &at) == 255;
  at++; // one white space
  image->pixels = bytes + at;
  return bytewise && image->width > 0 && image->height > 0 && image->width <= 16384 &&
         image->height <= 16384 && at < size &&
         size - at >= image->width * image->height * image->channels;
}

int main(int argc, char **argv) {
  if (argc < 3) {
    fprintf(stderr, "usage: %s MODEL.curta PICTURE.ppm...\n", argv[0]);
    return 64;
  }
  size_t size = 0;
  void *file = read_file(argv[1], &size);
  curta_plan_info plan;
  void *arena = NULL;
  curta_session *session = load(file, size, &plan, &arena);
  curta_image_info info = {.struct_size = sizeof info};
  check(curta_session_image(session, &info), "this model takes no images");

  for (int i = 2; i < argc; i++) {
    size_t picture_size = 0;
    uint8_t *bytes = read_file(argv[i], &picture_size);
    picture image;
    if (!read_ppm(bytes, picture_size, &image)) {
      fprintf(stderr, "error: %s: not a binary PPM or PGM of 8 bits\n", argv[i]);
      return 2;
    }

    // Any size: the library brings it to info.width x info.height, in whole numbers.
    check(curta_set_image(session, 0, image.pixels, image.width, image.height, image.channels, 0),
          argv[i]);
    free(bytes);
    check(curta_step_images(session, 1), "step");

    // The five largest scores, the first of equals first.
    const int32_t *scores = curta_logits(session, 0);
    uint32_t best[5];
    const uint32_t shown = plan.vocabulary < 5 ? plan.vocabulary : 5;
    for (uint32_t n = 0; n < shown; n++) {
      best[n] = UINT32_MAX;
      for (uint32_t label = 0; label < plan.vocabulary; label++) {
        bool taken = false;
        for (uint32_t k = 0; k < n; k++)
          taken |= best[k] == label;
        if (!taken && (best[n] == UINT32_MAX || scores[label] > scores[best[n]]))
          best[n] = label;
      }
      printf("%s\t%u\t%d\n", argv[i], (unsigned)best[n], (int)scores[best[n]]);
    }
  }
  fprintf(stderr, "arena %llu bytes, %u x %u pixels\n", (unsigned long long)plan.arena_bytes,
          (unsigned)info.width, (unsigned)info.height);
  free(arena);
  free(file);
  return 0;
}
