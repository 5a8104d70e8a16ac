// Runs in an arena of exactly the planned size between pages that fault, twice, on memory filled
// with 0xA5 and with 0x5A. Prints JSON: bytes planned, bytes used (up to the last one written),
// whether the logits are the same, and whether 1 and 64 bytes less are refused.
// usage: arena MODEL THREADS [LIMIT]        LIMIT: bytes of weights in memory
// SPDX-License-Identifier: Apache-2.0

#define _GNU_SOURCE
#include "driver.h"
#include "sha256.h"

#include <sys/mman.h>
#include <unistd.h>

/// `size` bytes between two pages without access, against the upper one (`size` a multiple of 64).
static unsigned char *guarded(size_t size) {
  size_t page = (size_t)sysconf(_SC_PAGESIZE), inner = (size + page - 1) / page * page;
  unsigned char *all =
      mmap(NULL, inner + 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (all == MAP_FAILED || mprotect(all, page, PROT_NONE) != 0 ||
      mprotect(all + page + inner, page, PROT_NONE) != 0) {
    perror("guarded memory");
    exit(1);
  }
  memset(all + page, 0xC3, inner);
  return all + page + (inner - size);
}

/// The bytes between the lower page and the arena are still as they were.
static int untouched_before(const unsigned char *arena) {
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  for (const unsigned char *at = arena; (uintptr_t)at % page != 0;)
    if (*--at != 0xC3)
      return 0;
  return 1;
}

/// A whole context: chunks with every row of logits, then sampled tokens.
static void run(curta_session *session, const curta_plan_info *plan, char text[65]) {
  sha256 hash;
  sha256_start(&hash);
  int32_t *tokens = aligned(plan->chunk * sizeof *tokens);
  while (curta_past(session) + plan->chunk <= plan->context / 2) {
    for (uint32_t i = 0; i < plan->chunk; i++)
      tokens[i] = (int32_t)((curta_past(session) + i) * 7 % plan->vocabulary);
    check(curta_step(session, tokens, plan->chunk, plan->chunk), "step");
    for (uint32_t row = 0; row < plan->chunk; row++)
      sha256_add(&hash, curta_logits(session, row), plan->vocabulary * sizeof(int32_t));
  }
  const curta_sampling sampling = {.struct_size = sizeof sampling,
                                   .temperature = 65536,
                                   .top_p = 62259,
                                   .repetition_penalty = 18022,
                                   .penalty_window = plan->context};
  while (curta_past(session) < plan->context) {
    int32_t token = 0;
    check(curta_sample(session, &sampling, &token), "sample");
    check(curta_step(session, &token, 1, 1), "step");
    sha256_add(&hash, curta_logits(session, 0), plan->vocabulary * sizeof(int32_t));
  }
  free(tokens);
  sha256_end(&hash, text);
}

int main(int argc, char **argv) {
  if (argc != 3 && argc != 4)
    return 64;
  size_t size = 0;
  void *file = read_file(argv[1], &size);
  curta_options options = driver_options(0, 0, (uint32_t)atoi(argv[2]), 0);
  options.weight_limit = argc == 4 ? strtoull(argv[3], NULL, 10) : 0;
  uint32_t half = driver_plan(file, size, &options).context / 2;
  options.chunk = options.outputs = half < 64 ? half : 64;
  curta_plan_info plan = driver_plan(file, size, &options);
  size_t bytes = (size_t)plan.arena_bytes, used = 0;
  if (bytes % 64 != 0) {
    fprintf(stderr, "error: the arena is not a multiple of 64 bytes\n");
    return 1;
  }

  char texts[2][65];
  int inside = 1;
  for (int round = 0; round < 2; round++) {
    unsigned char fill = round == 0 ? 0xA5 : 0x5A, *arena = guarded(bytes);
    memset(arena, fill, bytes);
    curta_session *session = NULL;
    check(curta_session_init(file, size, &options, arena, bytes, &session), "session");
    run(session, &plan, texts[round]);
    inside &= untouched_before(arena);
    for (size_t i = bytes; i > used; i--) {
      if (arena[i - 1] != fill) {
        used = i;
        break;
      }
    }
  }

  unsigned char *arena = guarded(bytes);
  curta_session *session = NULL;
  int refused = curta_session_init(file, size, &options, arena, bytes - 1, &session) ==
                    CURTA_ARENA_TOO_SMALL &&
                curta_session_init(file, size, &options, arena, bytes - 64, &session) ==
                    CURTA_ARENA_TOO_SMALL;
  uint64_t sum = plan.session_bytes + plan.weight_bytes + plan.buffer_bytes + plan.state_bytes +
                 plan.scratch_bytes;
  int same = strcmp(texts[0], texts[1]) == 0;
  printf("{\"chunk\": %u, \"outputs\": %u, \"planned\": %zu, \"parts\": %llu, \"used\": %zu, "
         "\"unused\": %zu, \"inside\": %s, \"same\": %s, \"less_refused\": %s, \"wrong\": %d}\n",
         plan.chunk, plan.outputs, bytes, (unsigned long long)sum, (used + 63) / 64 * 64,
         bytes - (used + 63) / 64 * 64, inside ? "true" : "false", same ? "true" : "false",
         refused ? "true" : "false", !inside + !same + !refused + (sum != bytes));
  return 0;
}
