// How much stack the calls of a session take: deepest byte written in a thread whose stack was
// painted. Prints JSON: bytes for each instruction set that runs here, in the order of `kernels`,
// the most of them, and how many sets take more than curta.h says.
//
// usage: stack MODEL
//
// A language model loads, encodes, steps, samples, decodes, saves and restores; a model of images
// loads, resizes and steps. One thread: others only run kernels.
//
// SPDX-License-Identifier: Apache-2.0

#define _GNU_SOURCE
#include "driver.h"

#include <pthread.h>

enum { ROOM = 1 << 20, PAINT = 0xA7, MOST = 16 << 10, SETS = 5 };

static const char *path;
static uint32_t kernels;
static curta_status status;
static unsigned char *entry;

static void run_text(curta_session *session, const curta_plan_info *plan) {
  size_t count = plan->chunk;
  int32_t *tokens = driver_encode(session, "Once upon a time, there was a girl.", &count);
  check(curta_step(session, tokens, count, 1), "step");
  const curta_sampling sampling = {.struct_size = sizeof sampling,
                                   .temperature = 65536,
                                   .top_k = 40,
                                   .top_p = 62259,
                                   .repetition_penalty = 18022,
                                   .penalty_window = 64};
  static char text[4096];
  for (int i = 0; i < 4 && curta_past(session) < plan->context; i++) {
    int32_t token = 0;
    size_t length = 0;
    check(curta_sample(session, &sampling, &token), "sample");
    check(curta_decode(session, token, text, sizeof text, &length), "decode");
    check(curta_step(session, &token, 1, 1), "step");
  }
  size_t size = curta_session_save_size(session), made = 0;
  void *saved = aligned(size);
  check(curta_session_save(session, saved, size, &made), "save");
  check(curta_session_restore(session, saved, made), "restore");
}

static void run_image(curta_session *session, const curta_image_info *image) {
  const size_t width = image->width + 13, height = image->height + 5;
  uint8_t *pixels = aligned(width * height * image->channels);
  memset(pixels, 77, width * height * image->channels);
  check(curta_set_image(session, 0, pixels, width, height, image->channels, 0), "set image");
  check(curta_step_images(session, 1), "step");
}

static void *run(void *unused) {
  (void)unused;
  unsigned char mark;
  entry = &mark;
  size_t size = 0;
  void *file = read_file(path, &size);
  curta_options options = driver_options(0, 1, 1, kernels);
  curta_plan_info plan = driver_plan(file, size, &options);
  status = curta_check(file, size, &options, aligned((size_t)plan.check_bytes),
                       (size_t)plan.check_bytes);
  if (status != CURTA_OK)
    return NULL;
  curta_session *session = NULL;
  status = curta_session_init(file, size, &options, aligned((size_t)plan.arena_bytes),
                              (size_t)plan.arena_bytes, &session);
  if (status != CURTA_OK)
    return NULL;
  curta_image_info image = {.struct_size = sizeof image};
  if (curta_session_image(session, &image) == CURTA_OK)
    run_image(session, &image);
  else
    run_text(session, &plan);
  return NULL;
}

int main(int argc, char **argv) {
  if (argc != 2)
    return 64;
  path = argv[1];
  unsigned char *stack = aligned(ROOM);
  int over = 0;
  size_t most = 0;
  printf("{\"bytes\": [");
  for (kernels = 1; kernels <= SETS; kernels++) {
    memset(stack, PAINT, ROOM);
    pthread_attr_t attributes;
    pthread_t thread;
    pthread_attr_init(&attributes);
    if (pthread_attr_setstack(&attributes, stack, ROOM) != 0 ||
        pthread_create(&thread, &attributes, run, NULL) != 0) {
      fprintf(stderr, "error: no thread\n");
      return 1;
    }
    pthread_join(thread, NULL);
    if (status == CURTA_UNSUPPORTED && kernels > 1)
      continue; // this processor does not have it
    check(status, "session");
    const unsigned char *deepest = stack;
    while (*deepest == PAINT)
      deepest++;
    const size_t used = (size_t)(entry - deepest);
    over += used > MOST;
    most = used > most ? used : most;
    printf("%s%zu", kernels == 1 ? "" : ", ", used);
  }
  printf("], \"most\": %zu, \"over\": %d}\n", most, over);
  return 0;
}
