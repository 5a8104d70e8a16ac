// SHA-256 of what a model of images makes of pixels that a seed gives, as int32 little-endian.
// usage: images MODEL SEED,HEIGHT,WIDTH[,...] BATCH THREADS KERNELS
//   The pixels of an image are the top bytes of the numbers of Formats/curta-arithmetic.md
//   section 7. KERNELS is 1 + the index of an instruction set, 0 the fastest.
// Exit status 3: this processor has no such instruction set.
// SPDX-License-Identifier: Apache-2.0

#include "driver.h"
#include "sha256.h"

/// The pixels of an image, allocated.
static uint8_t *noise(uint64_t seed, size_t count) {
  uint64_t z = seed + 0x9E3779B97F4A7C15;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
  z ^= z >> 31;
  uint64_t x = z ? z : 1;
  uint8_t *pixels = aligned(count);
  for (size_t i = 0; i < count; i++) {
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    pixels[i] = (uint8_t)((x * 0x2545F4914F6CDD1D) >> 56);
  }
  return pixels;
}

int main(int argc, char **argv) {
  if (argc != 6) {
    fprintf(stderr, "usage: images MODEL SEED,HEIGHT,WIDTH[,...] BATCH THREADS KERNELS\n");
    return 64;
  }
  size_t size = 0, batch = strtoul(argv[3], NULL, 10);
  const uint32_t kernels = (uint32_t)atoi(argv[5]);
  void *file = read_file(argv[1], &size);
  curta_options options = driver_options(0, (uint32_t)batch, (uint32_t)atoi(argv[4]), kernels);
  curta_plan_info plan = driver_plan(file, size, &options);
  curta_session *session = NULL;
  curta_status status = curta_session_init(file, size, &options, aligned((size_t)plan.arena_bytes),
                                           (size_t)plan.arena_bytes, &session);
  if (status == CURTA_UNSUPPORTED && kernels > 1) {
    fprintf(stderr, "error: session: status %d\n", (int)status);
    return 3;
  }
  check(status, "session");
  curta_image_info image = {.struct_size = sizeof image};
  check(curta_session_image(session, &image), "image");

  sha256 hash;
  sha256_start(&hash);
  for (char *next = argv[2]; *next != 0;) {
    size_t count = 0;
    for (; *next != 0 && count < batch; count++) {
      const uint64_t seed = strtoull(next, &next, 10);
      const size_t height = strtoul(next + 1, &next, 10), width = strtoul(next + 1, &next, 10);
      next += *next == ',';
      uint8_t *pixels = noise(seed, height * width * image.channels);
      check(curta_set_image(session, count, pixels, width, height, image.channels, 0), "set image");
      free(pixels);
    }
    check(curta_step_images(session, count), "step");
    for (size_t row = 0; row < count; row++)
      sha256_add(&hash, curta_logits(session, row), plan.vocabulary * sizeof(int32_t));
  }
  char text[65];
  sha256_end(&hash, text);
  puts(text);
  return 0;
}
