// Runs a .curta language model from C: plan, one allocation, prompt, answer.
// usage: story MODEL.curta [PROMPT] [TOKENS] [SEED]
// SPDX-License-Identifier: Apache-2.0

#include <curta.h>

#ifdef STORY_WITH_ZSTD
#include <zstd.h>
#endif

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef STORY_WITH_ZSTD
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
  curta_options options = curta_default_options();
#ifdef STORY_WITH_ZSTD
  options.zstd = decode_zstd;
#endif

  // How much memory, to the byte; then the one allocation.
  curta_plan_info plan = {.struct_size = sizeof plan};
  check(curta_plan(file, file_size, &options, &plan), "plan");
  void *arena = aligned_alloc(64, (size_t)plan.arena_bytes);
  if (arena == NULL) {
    perror("arena");
    return 1;
  }
  curta_session *session = NULL;
  check(curta_session_init(file, file_size, &options, arena, (size_t)plan.arena_bytes, &session),
        "session");

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
