// Curta: run .curta files with whole numbers only.
// SPDX-License-Identifier: Apache-2.0
//
//   curta_options options = curta_default_options();
//   curta_plan_info plan = {.struct_size = sizeof plan};
//   curta_plan(file, file_size, &options, &plan);            // how much memory, to the byte
//   void *arena = aligned_alloc(64, plan.arena_bytes);       // the only memory there is
//   curta_session *session;
//   curta_session_init(file, file_size, &options, arena, plan.arena_bytes, &session);
//   curta_step(session, tokens, count, 1);                   // prompt, in chunks of plan.chunk
//   curta_sample(session, &sampling, &token);                // next token; step it, and so on
//
// and for a model of images, in the place of the last two:
//
//   curta_set_image(session, 0, pixels, width, height, 3, 0); // of any size
//   curta_step_images(session, 1);
//   const int32_t *scores = curta_logits(session, 0);
//
// The library allocates nothing, calls nothing but memcpy, memmove, memset (and getauxval on
// aarch64), and uses no floating-point instruction. A call takes at most 16 KiB of stack, besides
// what the caller's functions take. The same file and tokens give the same bits on every processor,
// with any number of threads and any split of the tokens into steps.
//
// Untrusted files are in scope: a malformed file gives a status, never a crash.
//
// A session is used by one thread at a time. Different sessions are independent and may share the
// bytes of a file. The file's bytes must stay in place and unchanged while a session uses them.

#ifndef CURTA_H
#define CURTA_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define CURTA_API __attribute__((visibility("default")))
#else
#define CURTA_API
#endif

#define CURTA_VERSION_MAJOR 0
#define CURTA_VERSION_MINOR 1
#define CURTA_VERSION_PATCH 0

/// Why a call failed; `Formats/registry.tsv` says what each means.
typedef int32_t curta_status;
enum {
  CURTA_OK = 0,
  CURTA_TRUNCATED = 1,
  CURTA_BAD_MAGIC = 2,
  CURTA_BAD_VERSION = 3,
  CURTA_BAD_CHECKSUM = 4,
  CURTA_BAD_SIZE = 5,
  CURTA_BAD_LAYOUT = 6,
  CURTA_BAD_PADDING = 7,
  CURTA_DUPLICATE = 8,
  CURTA_MISSING = 9,
  CURTA_UNKNOWN = 10,
  CURTA_BAD_FRAME = 11,
  CURTA_BAD_TEXT = 12,
  CURTA_BAD_METADATA = 13,
  CURTA_BAD_TENSOR = 14,
  CURTA_BAD_PAYLOAD = 15,
  CURTA_BAD_PROGRAM = 16,
  CURTA_BAD_PLAN = 17,
  CURTA_BAD_TOKENIZER = 18,
  CURTA_OVER_LIMIT = 19,
  CURTA_UNSUPPORTED = 20,
  CURTA_BAD_ARGUMENT = 21,
  CURTA_ARENA_TOO_SMALL = 22,
  CURTA_CONTEXT_FULL = 23,
  CURTA_CODEC_MISSING = 24,
  CURTA_UNALIGNED = 25,
  CURTA_OUTPUT_TOO_SMALL = 26,
  CURTA_WRONG_MODEL = 27,
};

/// Decodes one zstd frame of `source_size` bytes to exactly `target_size` bytes; returns 0 when it
/// used all of the source and filled all of the target, anything else otherwise.
/// `ZSTD_decompress` in one line: see `Examples/c-app`.
typedef int32_t (*curta_decode_function)(void *context, const void *source, size_t source_size,
                                         void *target, size_t target_size);

/// One part of a piece of work: 0 <= part < parts.
typedef void (*curta_task_function)(void *argument, uint32_t part, uint32_t parts);

/// Calls `task(argument, part, parts)` once for every part, on any threads, and returns when all
/// are done. `curta_pool_run` of curta_platform.h is one.
typedef void (*curta_parallel_function)(void *context, curta_task_function task, void *argument,
                                        uint32_t parts);

/// Begins `task(argument, part, parts)` for every part, each once, on threads that are not needed
/// by `parallel`, and returns at once. `curta_pool_begin` of curta_platform.h is one.
typedef void (*curta_begin_function)(void *context, curta_task_function task, void *argument,
                                     uint32_t parts);

/// Returns when all parts of what was begun last are done, those that nobody took by the caller.
/// `curta_pool_finish` of curta_platform.h is one.
typedef void (*curta_finish_function)(void *context);

/// Says that these bytes of the file will be read soon. `curta_prefetch_mapping` of
/// curta_platform.h is one.
typedef void (*curta_prefetch_function)(void *context, const void *bytes, size_t size);

/// What a session is to be. Start from `curta_default_options()`. Zero means the default. A model
/// of images has a context of its own and no chunk: what is asked for is not looked at.
typedef struct curta_options {
  uint32_t struct_size; // sizeof(curta_options)
  uint32_t context;     // positions, prompt and answer together; default: the file's
  uint32_t chunk;       // most tokens in a step; default: 128, or context if less
  uint32_t outputs;     // most rows of logits, or images, in a step; default: 1
  uint32_t threads;     // that share the work; default: 1; above 1 needs `parallel`
  uint32_t kernels;     // 1 + index of an instruction set (1: scalar); default: the fastest
  curta_parallel_function parallel; // called by curta_session_init and by steps
  void *parallel_context;
  curta_decode_function zstd; // needed by files with zstd sections only
  void *zstd_context;
  uint64_t weight_limit; // bytes of weights in memory at most, decoded ones and those of the file
                         // together; each step brings those beyond anew, a few ops' at a time.
                         // A limit below what runs counts as the least; default: none
  curta_prefetch_function prefetch; // called by steps for weights beyond the limit; may be NULL
  void *prefetch_context;
  curta_begin_function begin;   // with both, and several threads, weights beyond the limit are
  curta_finish_function finish; // decoded while the ops before theirs run; with parallel_context
} curta_options;

/// What a session takes, in bytes; the parts add up to `arena_bytes`. Of a model of images
/// `context` is the rows of an image, `chunk` 0, `outputs` the most images in a step, `vocabulary`
/// the numbers in a row of output, and `scratch_bytes` has the pixels of a step.
typedef struct curta_plan_info {
  uint32_t struct_size; // sizeof(curta_plan_info), set by the caller
  uint32_t context, chunk, outputs, threads;
  uint32_t vocabulary;
  uint64_t arena_bytes;
  uint64_t session_bytes; // tables of this session
  uint64_t weight_bytes;  // decoded or unpacked sections; stored ones are used where they lie;
                          // of those beyond `weight_limit` the place of a few
  uint64_t buffer_bytes;  // activations of one step
  uint64_t state_bytes;   // key and value caches
  uint64_t scratch_bytes; // of threads, sampling and tokenizer
  uint64_t check_bytes;   // what `curta_check` takes
  uint64_t identity;      // hash that names the model
  uint32_t error_section; // on failure: kind of the section, 0 for header and directory
  uint64_t error_offset;  // on failure: byte in the file or in the decoded section
} curta_plan_info;

/// How to choose the next token: `Formats/curta-arithmetic.md` section 6. All integers.
typedef struct curta_sampling {
  uint32_t struct_size;        // sizeof(curta_sampling)
  uint32_t temperature;        // units of 2^-16; 0: the likeliest token
  uint32_t top_k;              // 0: off
  uint32_t top_p;              // units of 2^-16; 0: off
  uint32_t min_p;              // units of 2^-16; 0: off
  uint32_t repetition_penalty; // units of 2^-14; 0: off
  uint32_t penalty_window;     // tokens that the penalty looks back at
} curta_sampling;

/// How an image of any size becomes the model's.
enum {
  CURTA_RESIZE_NONE = 0,    // not at all: it has the model's size
  CURTA_RESIZE_STRETCH = 1, // each side by itself
  CURTA_RESIZE_CROP = 2,    // both sides alike until the shorter one is `edge`, then the centre
};
enum {
  CURTA_FILTER_NONE = 0,
  CURTA_FILTER_BOX = 1,
  CURTA_FILTER_BILINEAR = 2,
  CURTA_FILTER_BICUBIC = 3
};

/// The images that a model takes.
typedef struct curta_image_info {
  uint32_t struct_size;               // sizeof(curta_image_info), set by the caller
  uint32_t height, width;             // pixels that the model sees
  uint32_t channels;                  // 1: grey; 3: red, green, blue
  uint32_t patch_height, patch_width; // pixels of a patch
  uint32_t resize;                    // CURTA_RESIZE_...
  uint32_t edge;                      // with CURTA_RESIZE_CROP
  uint32_t filter;                    // CURTA_FILTER_...
  uint32_t largest_side;              // most rows or columns of pixels that curta_set_image takes
} curta_image_info;

typedef struct curta_session curta_session;

/// Major * 10000 + minor * 100 + patch of the library, to compare with the header's.
CURTA_API uint32_t curta_version(void);

CURTA_API curta_options curta_default_options(void);

/// Checks the file's header, directory, tensors and program, and says what a session will take.
/// Reads O(size of those) bytes and writes `*plan` only. `file` is aligned to 64 bytes.
CURTA_API curta_status curta_plan(const void *file, size_t file_size, const curta_options *options,
                                  curta_plan_info *plan);

/// Checks all of the file, and makes a session in `arena` (64-byte aligned, at least
/// `arena_bytes` of the plan). Nothing is allocated, then or later.
CURTA_API curta_status curta_session_init(const void *file, size_t file_size,
                                          const curta_options *options, void *arena,
                                          size_t arena_size, curta_session **session);

/// Makes all checks of `curta_session_init` and gives its status, for a file that was received and
/// is not to run yet. `memory` (64-byte aligned, at least `check_bytes` of the plan) holds one
/// tensor at a time, and the buffers and caches of the options: a context of 1 makes them small.
CURTA_API curta_status curta_check(const void *file, size_t file_size, const curta_options *options,
                                   void *memory, size_t size);

/// Feeds `count` tokens (1 … chunk) behind those already there; computes logits for the last
/// `outputs` (1 … plan.outputs, at most count) of them. On error nothing has changed (but that the
/// logits of the last step are gone when weights beyond `weight_limit` could not be decoded).
/// `unsupported` when the model takes images.
CURTA_API curta_status curta_step(curta_session *session, const int32_t *tokens, size_t count,
                                  size_t outputs);

/// Logits of output row `row` of the last step: `vocabulary` integers in units of 2^-16 (natural
/// logarithm). Of a model of images: what image `row` gave, labels or features. NULL when there is
/// no such row. Valid until the next call with this session.
CURTA_API const int32_t *curta_logits(const curta_session *session, size_t row);

/// Tokens fed so far.
CURTA_API size_t curta_past(const curta_session *session);

/// Forgets all tokens from position `past` on (0: all of them).
CURTA_API curta_status curta_rewind(curta_session *session, size_t past);

/// Starts the random numbers of `curta_sample` anew.
CURTA_API void curta_seed(curta_session *session, uint64_t seed);

/// Chooses a token from the last row of logits. Feed it with `curta_step` to go on. `unsupported`
/// when the model takes images.
CURTA_API curta_status curta_sample(curta_session *session, const curta_sampling *sampling,
                                    int32_t *token);

/// What images the model takes. `unsupported` when it takes tokens.
CURTA_API curta_status curta_session_image(const curta_session *session, curta_image_info *info);

/// Brings an image to the model's size and keeps it as image `index` (0 … plan.outputs - 1) of the
/// steps that follow, until another takes its place; before the first, images are black.
///
/// Rows of pixels go from the top down, `row_stride` bytes from one to the next (0: width *
/// channels). `channels` bytes make a pixel: 1 grey; 3 red, green, blue; 4 with a fourth that is
/// not read. A model of colours takes grey as all three; a model of grey takes grey alone. Sides
/// are 1 … `largest_side` of curta_image_info, or exactly the model's with CURTA_RESIZE_NONE;
/// anything else is `bad_argument`. The rows of the last step are gone afterwards.
CURTA_API curta_status curta_set_image(curta_session *session, size_t index, const uint8_t *pixels,
                                       size_t width, size_t height, size_t channels,
                                       size_t row_stride);

/// Computes the rows of output of the first `count` images (1 … plan.outputs). On error nothing has
/// changed, but for what `curta_step` says of logits. `unsupported` when the model takes tokens.
CURTA_API curta_status curta_step_images(curta_session *session, size_t count);

/// Encodes UTF-8 text. `tokens` has room for `capacity` ids; a text of n bytes needs at most
/// 2 n + 2. `scratch` needs `curta_encode_scratch(session, n)` bytes, aligned to 8.
/// `unsupported` when the file has no tokenizer.
CURTA_API curta_status curta_encode(const curta_session *session, const char *text, size_t size,
                                    int32_t *tokens, size_t capacity, size_t *count, void *scratch,
                                    size_t scratch_size);
CURTA_API size_t curta_encode_scratch(const curta_session *session, size_t text_size);

/// Decodes one token more of a text, keeping back an incomplete character. `text` gets `*size`
/// bytes, not terminated; 4 096 bytes of room always do. A token of -1 ends the text (a character
/// that was never completed becomes U+FFFD) and begins a new one.
CURTA_API curta_status curta_decode(curta_session *session, int32_t token, char *text,
                                    size_t capacity, size_t *size);

/// 1 when the token ends a text, else 0.
CURTA_API int32_t curta_is_end(const curta_session *session, int32_t token);

/// Bytes that `curta_session_save` would write now; they grow with `curta_past`: 72, 8 for each
/// cache, 4 for each token, 4 * vocabulary after a step, and heads * (width + 8) for each token and
/// cache. 0 for no session, and for a model of images, of which nothing is kept between steps: the
/// two calls below then give `unsupported`.
CURTA_API size_t curta_session_save_size(const curta_session *session);

/// Writes everything that the session would go on with to `bytes` (any alignment): the tokens, the
/// caches of the positions in use, the last row of logits, the random numbers and the unfinished
/// character of `curta_decode`. `Formats/curta-session.md` has the bytes. O(positions in use).
/// `output_too_small` when `capacity` is below `curta_session_save_size`; nothing is then written.
/// `unsupported` for a file of images, whose sessions keep nothing.
CURTA_API curta_status curta_session_save(const curta_session *session, void *bytes,
                                          size_t capacity, size_t *size);

/// Makes the session what the saved one was. It goes on bit for bit as that one would have, with
/// any context that holds its tokens, and any threads, chunk, outputs and kernels: after
/// a step `curta_sample` may come at once, and row 0 of the logits is the last row of then.
///
/// `bytes` are untrusted, of any alignment, outside the arena, and not needed afterwards; every
/// value is checked before anything is changed, so on error nothing has changed. `wrong_model` when
/// the session was one of another file, `context_full` when it holds more tokens than this context.
CURTA_API curta_status curta_session_restore(curta_session *session, const void *bytes,
                                             size_t size);

#ifdef __cplusplus
}
#endif
#endif
