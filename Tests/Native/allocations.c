// Counts calls that take or give back memory over TOKENS sampled tokens after
// curta_session_init. Run with interpose.so preloaded. Prints JSON.
// usage: allocations MODEL TOKENS THREADS
// SPDX-License-Identifier: Apache-2.0

#include "driver.h"

extern void curta_count_start(void) __attribute__((weak));
extern unsigned long curta_count_stop(void) __attribute__((weak));

int main(int argc, char **argv) {
  if (argc != 4)
    return 64;
  if (curta_count_start == NULL) {
    fprintf(stderr, "error: preload interpose.so\n");
    return 1;
  }
  // The counter counts, or else a count of 0 says nothing.
  curta_count_start();
  void *volatile probe = malloc(1);
  free(probe);
  unsigned long seen = curta_count_stop();

  size_t size = 0;
  void *file = read_file(argv[1], &size);
  curta_options options = driver_options(0, 1, (uint32_t)atoi(argv[3]), 0);
  curta_plan_info plan = driver_plan(file, size, &options);
  curta_session *session = driver_session(file, size, &options, &plan);
  size_t prompt = plan.chunk;
  int32_t *tokens =
      driver_encode(session, "Once upon a time, there was a little girl named Lily.", &prompt);
  const curta_sampling sampling = {.struct_size = sizeof sampling,
                                   .temperature = 45875,
                                   .top_k = 40,
                                   .top_p = 62259,
                                   .min_p = 655,
                                   .repetition_penalty = 18022,
                                   .penalty_window = 64};
  static char text[4096];
  long left = atol(argv[2]), rounds = 0;

  curta_count_start();
  curta_seed(session, 1);
  while (left > 0) {
    check(curta_rewind(session, 0), "rewind");
    check(curta_step(session, tokens, prompt, 1), "step");
    for (; left > 0 && curta_past(session) < plan.context; left--) {
      int32_t token = 0;
      size_t length = 0;
      check(curta_sample(session, &sampling, &token), "sample");
      check(curta_decode(session, token, text, sizeof text, &length), "decode");
      check(curta_step(session, &token, 1, 1), "step");
    }
    rounds++;
  }
  unsigned long calls = curta_count_stop();

  printf("{\"tokens\": %s, \"threads\": %s, \"rounds\": %ld, \"probe\": %lu, \"calls\": %lu}\n",
         argv[2], argv[3], rounds, seen, calls);
  return seen == 2 ? 0 : 1;
}
