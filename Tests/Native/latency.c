// How long a model of images takes, one image at a time: for every number N on the standard input,
// N images are run and a line with the nanoseconds of each is printed. usage: latency MODEL THREADS
// An image is noise of the model's own size; its time goes from the pixels to the scores.
// SPDX-License-Identifier: Apache-2.0

#define _POSIX_C_SOURCE 199309L

#include "driver.h"

#include <time.h>

static uint64_t now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

int main(int argc, char **argv) {
  if (argc != 3) {
    fprintf(stderr, "usage: latency MODEL THREADS\n");
    return 64;
  }
  size_t size = 0;
  void *file = read_file(argv[1], &size);
  curta_options options = driver_options(0, 1, (uint32_t)atoi(argv[2]), 0);
  curta_plan_info plan = driver_plan(file, size, &options);
  curta_session *session = NULL;
  check(curta_session_init(file, size, &options, aligned((size_t)plan.arena_bytes),
                           (size_t)plan.arena_bytes, &session),
        "session");
  curta_image_info image = {.struct_size = sizeof image};
  check(curta_session_image(session, &image), "image");
  const size_t count = (size_t)image.height * image.width * image.channels;
  uint8_t *pixels = aligned(count);
  uint32_t random = 1;
  for (size_t i = 0; i < count; i++)
    pixels[i] = (uint8_t)((random = random * 1664525 + 1013904223) >> 24);

  for (int images; scanf("%d", &images) == 1;) {
    for (int i = 0; i < images; i++) {
      const uint64_t start = now();
      check(curta_set_image(session, 0, pixels, image.width, image.height, image.channels, 0),
            "set image");
      check(curta_step_images(session, 1), "step");
      printf("%s%llu", i ? " " : "", (unsigned long long)(now() - start));
    }
    putchar('\n');
    fflush(stdout);
  }
  return 0;
}
