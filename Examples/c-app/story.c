// Runs a .curta language model from C: plan, one allocation, prompt, answer.
// usage: story MODEL.curta [PROMPT] [TOKENS] [SEED]
// SPDX-License-Identifier: Apache-2.0

#include <curta.h>

#include "load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void show(curta_session *session, int32_t token) {
  char text[4096];
  size_t size = 0;
  check(curta_decode(session, token, text, sizeof text, &size), "decode");
  fwrite(text, 1, size, stdout);
  fflush(stdout);
}

int main(int argc, char **argv) {
  if (argc < 2) {
    fprintf(stderr, "usage: %s MODEL.curta [PROMPT] [TOKENS] [SEED]\n", argv[0]);
    return 64;
  }
  const char *prompt = argc > 2 ? argv[2] : "Once upon a time";
  long length = argc > 3 ? atol(argv[3]) : 100;
  unsigned long long seed = argc > 4 ? strtoull(argv[4], NULL, 10) : 0;

  size_t file_size = 0;
  void *file = read_file(argv[1], &file_size);
  curta_plan_info plan;
  void *arena = NULL;
  curta_session *session = load(file, file_size, &plan, &arena);

  // The prompt as tokens, fed in steps of at most `chunk`.
  size_t text_size = strlen(prompt);
  size_t scratch_size = curta_encode_scratch(session, text_size);
  size_t capacity = 2 * text_size + 2;
  void *scratch = malloc(scratch_size + 1);
  int32_t *tokens = malloc(capacity * sizeof *tokens);
  size_t count = 0;
  check(curta_encode(session, prompt, text_size, tokens, capacity, &count, scratch, scratch_size),
        "encode");
  for (size_t i = 0; i < count; i++)
    show(session, tokens[i]);
  for (size_t i = 0; i < count; i += plan.chunk) {
    size_t n = count - i < plan.chunk ? count - i : plan.chunk;
    check(curta_step(session, tokens + i, n, 1), "step");
  }
  free(tokens);
  free(scratch);

  // One token at a time until the text ends.
  curta_sampling sampling = {
      .struct_size = sizeof sampling, .temperature = 45875 /* 0.7 */, .top_k = 40};
  curta_seed(session, seed);
  while (length-- > 0 && curta_past(session) < plan.context) {
    int32_t token = 0;
    check(curta_sample(session, &sampling, &token), "sample");
    if (curta_is_end(session, token))
      break;
    show(session, token);
    check(curta_step(session, &token, 1, 1), "step");
  }
  putchar('\n');
  fprintf(stderr, "arena %llu bytes, %zu tokens\n", (unsigned long long)plan.arena_bytes,
          curta_past(session));
  free(arena);
  free(file);
  return 0;
}
