// What every example needs before its own work: the bytes of a file, zstd, a session.
// SPDX-License-Identifier: Apache-2.0

#ifndef LOAD_H
#define LOAD_H

#include <curta.h>

#ifdef WITH_ZSTD
#include <zstd.h>
#endif

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#ifdef WITH_ZSTD
/// The whole of what Curta needs from zstd: one frame in, exactly `target_size` bytes out.
static int32_t decode_zstd(void *context, const void *source, size_t source_size, void *target,
                           size_t target_size) {
  (void)context;
  if (ZSTD_findFrameCompressedSize(source, source_size) != source_size)
    return 1;
  return ZSTD_decompress(target, target_size, source, source_size) == target_size ? 0 : 1;
}
#endif

static void check(curta_status status, const char *what) {
  if (status == CURTA_OK)
    return;
  fprintf(stderr, "error: %s: status %d (see Formats/registry.tsv)\n", what, (int)status);
  exit(status == CURTA_ARENA_TOO_SMALL ? 4 : 2);
}

/// Reads a file into memory aligned to 64 bytes. A product would map it or run it from flash.
static void *read_file(const char *path, size_t *size) {
  FILE *file = fopen(path, "rb");
  if (file == NULL || fseek(file, 0, SEEK_END) != 0) {
    perror(path);
    exit(1);
  }
  long end = ftell(file);
  rewind(file);
  *size = (size_t)end;
  void *bytes = aligned_alloc(64, (*size + 63) / 64 * 64);
  if (bytes == NULL || fread(bytes, 1, *size, file) != *size) {
    perror(path);
    exit(1);
  }
  fclose(file);
  return bytes;
}

/// How much memory, to the byte; then the one allocation. `file` and `*arena` stay until the end.
static curta_session *load(const void *file, size_t size, curta_plan_info *plan, void **arena) {
  curta_options options = curta_default_options();
#ifdef WITH_ZSTD
  options.zstd = decode_zstd;
#endif
  *plan = (curta_plan_info){.struct_size = sizeof *plan};
  check(curta_plan(file, size, &options, plan), "plan");
  *arena = aligned_alloc(64, (size_t)plan->arena_bytes);
  if (*arena == NULL) {
    perror("arena");
    exit(1);
  }
  curta_session *session = NULL;
  check(curta_session_init(file, size, &options, *arena, (size_t)plan->arena_bytes, &session),
        "session");
  return session;
}

#endif
