// SHA-256 of all logits of a prompt and the greedy tokens after it, as int32 little-endian.
// usage: hash MODEL TOKENS|TEXT PREFILL GREEDY CHUNK THREADS KERNELS [LIMIT]
//   TOKENS is 1,5,7; anything else is text, of which the first PREFILL tokens are taken.
//   KERNELS is 1 + the index of an instruction set, 0 the fastest. CHUNK 0 prints the tokens.
//   LIMIT is bytes of weights in memory, 0 all.
// Exit status 3: this processor has no such instruction set.
// SPDX-License-Identifier: Apache-2.0

#include "driver.h"
#include "sha256.h"

static sha256 hash;

static void feed(curta_session *session, const int32_t *tokens, size_t count, size_t vocabulary) {
  check(curta_step(session, tokens, count, count), "step");
  for (size_t row = 0; row < count; row++)
    sha256_add(&hash, curta_logits(session, row), vocabulary * sizeof(int32_t));
}

int main(int argc, char **argv) {
  if (argc != 8 && argc != 9) {
    fprintf(stderr, "usage: hash MODEL TOKENS|TEXT PREFILL GREEDY CHUNK THREADS KERNELS [LIMIT]\n");
    return 64;
  }
  size_t size = 0, prefill = strtoul(argv[3], NULL, 10), greedy = strtoul(argv[4], NULL, 10);
  uint32_t chunk = (uint32_t)atoi(argv[5]), kernels = (uint32_t)atoi(argv[7]);
  void *file = read_file(argv[1], &size);
  curta_options options = driver_options(chunk, chunk, (uint32_t)atoi(argv[6]), kernels);
  options.weight_limit = argc == 9 ? strtoull(argv[8], NULL, 10) : 0;
  curta_plan_info plan = driver_plan(file, size, &options);
  curta_session *session = NULL;
  curta_status status = curta_session_init(file, size, &options, aligned((size_t)plan.arena_bytes),
                                           (size_t)plan.arena_bytes, &session);
  if (status == CURTA_UNSUPPORTED && kernels > 1) {
    fprintf(stderr, "error: session: status %d\n", (int)status);
    return 3;
  }
  check(status, "session");

  int32_t *tokens = NULL;
  if (strspn(argv[2], "0123456789,") == strlen(argv[2])) {
    tokens = aligned(strlen(argv[2]) * sizeof *tokens);
    size_t count = 0;
    for (char *next = argv[2]; *next != 0 && count < prefill; next += *next == ',')
      tokens[count++] = (int32_t)strtol(next, &next, 10);
    prefill = count;
  } else {
    tokens = driver_encode(session, argv[2], &prefill);
  }
  if (chunk == 0) {
    for (size_t i = 0; i < prefill; i++)
      printf("%s%d", i ? "," : "", (int)tokens[i]);
    putchar('\n');
    return 0;
  }

  sha256_start(&hash);
  for (size_t i = 0; i < prefill; i += chunk)
    feed(session, tokens + i, prefill - i < chunk ? prefill - i : chunk, plan.vocabulary);
  for (size_t i = 0; i < greedy; i++) {
    int32_t token = driver_greedy(session);
    feed(session, &token, 1, plan.vocabulary);
  }
  char text[65];
  sha256_end(&hash, text);
  puts(text);
  return 0;
}
