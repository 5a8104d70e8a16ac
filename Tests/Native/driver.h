// What every C driver needs: a file in memory, zstd, a session with its arena and threads.
// SPDX-License-Identifier: Apache-2.0

#ifndef CURTA_TESTS_DRIVER_H
#define CURTA_TESTS_DRIVER_H

#include <curta.h>
#include <curta_platform.h>

#ifdef WITH_ZSTD
#include <zstd.h>
#endif

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef WITH_ZSTD
static inline int32_t driver_zstd(void *context, const void *source, size_t source_size,
                                  void *target, size_t target_size) {
  (void)context;
  if (ZSTD_findFrameCompressedSize(source, source_size) != source_size)
    return 1;
  return ZSTD_decompress(target, target_size, source, source_size) == target_size ? 0 : 1;
}
#endif

static inline void check(curta_status status, const char *what) {
  if (status == CURTA_OK)
    return;
  fprintf(stderr, "error: %s: status %d\n", what, (int)status);
  exit(2);
}

static inline void *aligned(size_t size) {
  void *bytes = aligned_alloc(64, (size + 64) / 64 * 64);
  if (bytes == NULL) {
    perror("memory");
    exit(1);
  }
  return bytes;
}

static inline void *read_file(const char *path, size_t *size) {
  FILE *file = fopen(path, "rb");
  if (file == NULL || fseek(file, 0, SEEK_END) != 0) {
    perror(path);
    exit(1);
  }
  *size = (size_t)ftell(file);
  rewind(file);
  void *bytes = aligned(*size);
  if (fread(bytes, 1, *size, file) != *size) {
    perror(path);
    exit(1);
  }
  fclose(file);
  return bytes;
}

/// Options of a session; `threads` above 1 starts a pool, which lives as long as the program.
static inline curta_options driver_options(uint32_t chunk, uint32_t outputs, uint32_t threads,
                                           uint32_t kernels) {
  curta_options options = curta_default_options();
  options.chunk = chunk;
  options.outputs = outputs;
  options.threads = threads;
  options.kernels = kernels;
#ifdef WITH_ZSTD
  options.zstd = driver_zstd;
#endif
  if (threads > 1) {
    options.parallel = curta_pool_run;
    options.begin = curta_pool_begin;
    options.finish = curta_pool_finish;
    options.parallel_context = curta_pool_create(threads);
    if (options.parallel_context == NULL) {
      fprintf(stderr, "error: no threads\n");
      exit(1);
    }
  }
  return options;
}

static inline curta_plan_info driver_plan(const void *file, size_t size,
                                          const curta_options *options) {
  curta_plan_info plan = {.struct_size = sizeof plan};
  check(curta_plan(file, size, options, &plan), "plan");
  return plan;
}

/// A session in an arena of exactly the planned size.
static inline curta_session *driver_session(const void *file, size_t size,
                                            const curta_options *options,
                                            const curta_plan_info *plan) {
  curta_session *session = NULL;
  check(curta_session_init(file, size, options, aligned((size_t)plan->arena_bytes),
                           (size_t)plan->arena_bytes, &session),
        "session");
  return session;
}

/// The likeliest token of the last row.
static inline int32_t driver_greedy(curta_session *session) {
  const curta_sampling greedy = {.struct_size = sizeof greedy};
  int32_t token = 0;
  check(curta_sample(session, &greedy, &token), "sample");
  return token;
}

/// The first `count` tokens of a text (fewer when it is shorter), allocated.
static inline int32_t *driver_encode(curta_session *session, const char *text, size_t *count) {
  size_t size = strlen(text), made = 0;
  size_t scratch_size = curta_encode_scratch(session, size);
  void *scratch = aligned(scratch_size);
  int32_t *tokens = aligned((size + 2) * sizeof *tokens);
  check(curta_encode(session, text, size, tokens, size + 2, &made, scratch, scratch_size),
        "encode");
  free(scratch);
  if (made < *count)
    *count = made;
  return tokens;
}

#endif
