// How much stack the runtime takes: loads and runs a model on a stack that was painted, with each
// instruction set of this processor. Prints JSON: most bytes of loading, and of running with each
// set. usage: stack MODEL... SPDX-License-Identifier: Apache-2.0

#define _GNU_SOURCE
#include "driver.h"

#include <pthread.h>
#include <sys/mman.h>

enum { STACK = 1 << 20, PAINT = 0xA5 };

typedef struct {
  const void *file;
  size_t size;
  uint32_t kernels;
  unsigned char *stack;
  long load, run; // bytes; run is -1 when this processor has no such set
} task;

/// Bytes below `from` that were written since the last call; paints them anew.
static long used(unsigned char *stack, unsigned char *from) {
  unsigned char *low = stack;
  while (low < from && *low == PAINT)
    low++;
  const long bytes = from - low;
  const unsigned char *own = (unsigned char *)__builtin_frame_address(0) - 512; // above: this frame
  for (volatile unsigned char *p = low; p < own; p++)
    *p = PAINT;
  return bytes;
}

static void feed(curta_session *session, const curta_plan_info *plan) {
  int32_t tokens[40], next = 0;
  const size_t count = plan->context < 40 ? plan->context - 1 : 32;
  for (size_t i = 0; i < count; i++)
    tokens[i] = (int32_t)((i * 37 + 1) % plan->vocabulary);
  for (size_t i = 0, n; i < count; i += n) {
    n = count - i < plan->chunk ? count - i : plan->chunk;
    check(curta_step(session, tokens + i, n, 1), "step");
  }
  const curta_sampling sampling = {.struct_size = sizeof sampling};
  check(curta_sample(session, &sampling, &next), "sample");
  check(curta_step(session, &next, 1, 1), "step");
}

static void look(curta_session *session) {
  curta_image_info image = {.struct_size = sizeof image};
  check(curta_session_image(session, &image), "image");
  static uint8_t pixels[300 * 200 * 4];
  for (size_t i = 0; i < sizeof pixels; i++)
    pixels[i] = (uint8_t)(i * 2654435761u >> 24);
  check(curta_set_image(session, 0, pixels, 300, 200, image.channels, 0), "set image");
  check(curta_step_images(session, 1), "step");
}

static void *start(void *argument) {
  task *t = argument;
  unsigned char *const from = __builtin_frame_address(0);
  curta_options options = driver_options(0, 1, 1, t->kernels);
  curta_plan_info plan = driver_plan(t->file, t->size, &options);
  curta_session *session = NULL;
  (void)used(t->stack, from);
  void *arena = aligned((size_t)plan.arena_bytes);
  const curta_status status =
      curta_session_init(t->file, t->size, &options, arena, (size_t)plan.arena_bytes, &session);
  t->run = -1;
  if (status != CURTA_UNSUPPORTED) {
    check(status, "session");
    t->load = used(t->stack, from);
    if (plan.chunk > 0)
      feed(session, &plan);
    else
      look(session);
    t->run = used(t->stack, from);
  }
  free(arena);
  return NULL;
}

static task measured(const void *file, size_t size, uint32_t kernels) {
  unsigned char *stack =
      mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (stack == MAP_FAILED) {
    perror("stack");
    exit(1);
  }
  memset(stack, PAINT, STACK);
  task t = {.file = file, .size = size, .kernels = kernels, .stack = stack};
  pthread_attr_t attributes;
  pthread_t thread;
  if (pthread_attr_init(&attributes) != 0 ||
      pthread_attr_setstack(&attributes, stack, STACK) != 0 ||
      pthread_create(&thread, &attributes, start, &t) != 0 || pthread_join(thread, NULL) != 0) {
    fprintf(stderr, "error: no thread\n");
    exit(1);
  }
  munmap(stack, STACK);
  return t;
}

int main(int argc, char **argv) {
  if (argc < 2) {
    fprintf(stderr, "usage: stack MODEL...\n");
    return 64;
  }
  long load = 0, run[4] = {0};
  for (int i = 1; i < argc; i++) {
    size_t size = 0;
    void *file = read_file(argv[i], &size);
    for (uint32_t k = 1; k < 4; k++) {
      const task t = measured(file, size, k);
      load = t.load > load ? t.load : load;
      run[k] = t.run > run[k] ? t.run : run[k];
    }
    free(file);
  }
  printf("{\"load\": %ld, \"scalar\": %ld, \"avx2\": %ld, \"avx512vnni\": %ld}\n", load, run[1],
         run[2], run[3]);
  return 0;
}
