// Gives libcurta damaged files: it must answer each with a status of registry.tsv, in time, without
// a trap or a read outside the file. The file lies against a page that faults.
// usage: hostile FILE.curta ... [--invalid FILE.curta ...]
// Of a valid file: every prefix; every bit of header and directory; the same with hashes made good
// again; every bit of the sections with hashes made good again (a sample when the file is large).
// What is still accepted is run. Files after --invalid are tried whole. Prints JSON.
// SPDX-License-Identifier: Apache-2.0

#define _GNU_SOURCE
#include "driver.h"

#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <unistd.h>

enum {
  LAST_STATUS = CURTA_OUTPUT_TOO_SMALL,
  ARENA_LIMIT = 64 << 20, // a plan above it is checked, not run
  SECONDS = 10,           // a case that takes longer hangs
  SECTION_CASES = 60000,  // at most, of one file
};

static struct {
  long files, cases, accepted, run, unnamed, crashes, hangs, wrongly_accepted, refused_valid,
      unlike; // curta_check and curta_session_init
} total;

static unsigned char *arena_end; // of ARENA_LIMIT bytes, before a page that faults
static sigjmp_buf escape;
static const char *path;

// MARK: - XXH64, seed 0

static const uint64_t P1 = 0x9E3779B185EBCA87, P2 = 0xC2B2AE3D27D4EB4F, P3 = 0x165667B19E3779F9,
                      P4 = 0x85EBCA77C2B2AE63, P5 = 0x27D4EB2F165667C5;

static uint64_t rotate(uint64_t x, int n) { return x << n | x >> (64 - n); }
static uint64_t get(const unsigned char *at, int bytes) {
  uint64_t x = 0;
  memcpy(&x, at, (size_t)bytes);
  return x;
}
static uint64_t lane(uint64_t x, uint64_t input) { return rotate(x + input * P2, 31) * P1; }

static uint64_t xxh64(const unsigned char *at, size_t size) {
  const unsigned char *end = at + size;
  uint64_t h = P5;
  if (size >= 32) {
    uint64_t v[4] = {P1 + P2, P2, 0, -P1};
    for (; end - at >= 32; at += 32)
      for (int i = 0; i < 4; i++)
        v[i] = lane(v[i], get(at + 8 * i, 8));
    h = rotate(v[0], 1) + rotate(v[1], 7) + rotate(v[2], 12) + rotate(v[3], 18);
    for (int i = 0; i < 4; i++)
      h = (h ^ lane(0, v[i])) * P1 + P4;
  }
  h += size;
  for (; end - at >= 8; at += 8)
    h = rotate(h ^ lane(0, get(at, 8)), 27) * P1 + P4;
  for (; end - at >= 4; at += 4)
    h = rotate(h ^ get(at, 4) * P1, 23) * P2 + P3;
  for (; at < end; at++)
    h = rotate(h ^ *at * P5, 11) * P1;
  h = (h ^ h >> 33) * P2;
  h = (h ^ h >> 29) * P3;
  return h ^ h >> 32;
}

// MARK: - One case

static void on_signal(int signal) { siglongjmp(escape, signal); }

static void *guarded(size_t size) { // against a page that faults, aligned to 64
  size_t page = (size_t)sysconf(_SC_PAGESIZE), inner = (size + page - 1) / page * page;
  unsigned char *all = mmap(NULL, inner + page, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (all == MAP_FAILED || mprotect(all + inner, page, PROT_NONE) != 0) {
    perror("guarded memory");
    exit(1);
  }
  return all + (inner - (size + 63) / 64 * 64);
}

static curta_status use(const void *file, size_t size) {
  curta_options options = driver_options(4, 1, 1, 0);
  curta_plan_info plan = {.struct_size = sizeof plan};
  curta_status status = curta_plan(file, size, &options, &plan);
  if (status != CURTA_OK)
    return status;
  if (plan.arena_bytes > ARENA_LIMIT)
    return CURTA_OK;
  curta_session *session = NULL;
  size_t bytes = (size_t)plan.arena_bytes, less = (size_t)plan.check_bytes;
  const curta_status checked = curta_check(file, size, &options, arena_end - less, less);
  status = curta_session_init(file, size, &options, arena_end - bytes, bytes, &session);
  total.unlike += checked != status;
  if (status != CURTA_OK)
    return status;
  total.run++;
  int32_t tokens[4] = {0, 1, 2, 3}, token = -1;
  char text[4096], scratch[65536] __attribute__((aligned(8)));
  size_t count = plan.chunk < 4 ? plan.chunk : 4, length = 0;
  if (curta_encode_scratch(session, 5) <= sizeof scratch)
    curta_encode(session, "a b\xC3\xA9", 5, (int32_t[7]){0}, 7, &length, scratch, sizeof scratch);
  const curta_sampling sampling = {
      .struct_size = sizeof sampling, .temperature = 65536, .repetition_penalty = 18022};
  if (curta_step(session, tokens, count, 1) == CURTA_OK &&
      curta_sample(session, &sampling, &token) == CURTA_OK) {
    curta_decode(session, token, text, sizeof text, &length);
    curta_step(session, &token, 1, 1);
  }
  return CURTA_OK;
}

/// Tries one file; says what it was on a crash or a hang. 1: accepted.
static int attempt(const unsigned char *file, size_t size, const char *what, size_t at) {
  total.cases++;
  int signal = sigsetjmp(escape, 1);
  if (signal == 0) {
    if (total.cases % 256 == 0) // each case would cost more than the case itself
      setitimer(ITIMER_REAL, &(struct itimerval){.it_value.tv_sec = SECONDS}, NULL);
    curta_status status = use(file, size);
    total.unnamed += status < 0 || status > LAST_STATUS;
    total.accepted += status == CURTA_OK;
    return status == CURTA_OK;
  }
  if (signal == SIGALRM)
    total.hangs++;
  else
    total.crashes++;
  fprintf(stderr, "%s: %s %zu: %s\n", path, what, at, strsignal(signal));
  if (total.crashes + total.hangs > 20)
    exit(1);
  return 0;
}

/// Makes the hashes of sections, directory and header good again.
static void reseal(unsigned char *file, size_t size, size_t sections, int payload) {
  for (size_t i = 0; payload && i < sections; i++) {
    unsigned char *entry = file + 64 + 48 * i;
    uint64_t offset = get(entry + 16, 8), stored = get(entry + 24, 8);
    if (offset > size || stored > size - offset)
      continue;
    uint64_t hash = xxh64(file + offset, stored);
    memcpy(entry + 40, &hash, 8);
  }
  uint64_t hash = xxh64(file + 64, 48 * sections);
  memcpy(file + 24, &hash, 8);
  hash = xxh64(file, 56);
  memcpy(file + 56, &hash, 8);
}

static void valid(const unsigned char *original, size_t size) {
  unsigned char *file = guarded(size);
  size_t sections = (size_t)get(original + 12, 4), front = 64 + 48 * sections;
  memcpy(file, original, size);
  total.refused_valid += !attempt(file, size, "whole", 0);

  for (size_t n = 0; n < size; n++) {
    // Against the faulting page as well: what is read must lie in the prefix.
    unsigned char *prefix = file + (size + 63) / 64 * 64 - (n + 63) / 64 * 64;
    memcpy(prefix, original, n);
    total.wrongly_accepted += attempt(prefix, n, "prefix", n);
  }
  memcpy(file, original, size);
  for (size_t bit = 0; bit < 8 * front; bit++) {
    file[bit / 8] ^= (unsigned char)(1 << bit % 8);
    total.wrongly_accepted += attempt(file, size, "bit", bit);
    reseal(file, size, sections, 0);
    attempt(file, size, "sealed bit", bit);
    memcpy(file, original, front);
  }
  size_t bits = 8 * (size - front), stride = bits / SECTION_CASES + 1;
  for (size_t bit = 0; bit < bits; bit += stride) {
    unsigned char *byte = file + front + bit / 8;
    *byte ^= (unsigned char)(1 << bit % 8);
    reseal(file, size, sections, 1);
    attempt(file, size, "section bit", bit);
    *byte ^= (unsigned char)(1 << bit % 8);
  }
}

int main(int argc, char **argv) {
  if (argc < 2)
    return 64;
  if (xxh64((const unsigned char *)"abc", 3) != 0x44BC2CF5AD770999) {
    fprintf(stderr, "error: XXH64\n");
    return 1;
  }
  arena_end = (unsigned char *)guarded(ARENA_LIMIT) + ARENA_LIMIT;
  static unsigned char stack[1 << 16];
  sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = sizeof stack}, NULL);
  struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_ONSTACK};
  const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGTRAP, SIGFPE, SIGABRT, SIGALRM};
  for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
    sigaction(signals[i], &action, NULL);

  int invalid = 0;
  for (int i = 1; i < argc; i++) {
    if (strcmp(argv[i], "--invalid") == 0) {
      invalid = 1;
      continue;
    }
    size_t size = 0;
    unsigned char *original = read_file(path = argv[i], &size);
    setitimer(ITIMER_REAL, &(struct itimerval){.it_value.tv_sec = SECONDS}, NULL);
    total.files++;
    if (!invalid) {
      valid(original, size);
    } else {
      unsigned char *file = guarded(size);
      memcpy(file, original, size);
      int accepted = attempt(file, size, "whole", 0);
      total.wrongly_accepted += accepted;
      if (accepted)
        fprintf(stderr, "%s: accepted\n", path);
    }
    free(original);
  }
  long bad = total.unnamed + total.crashes + total.hangs + total.wrongly_accepted +
             total.refused_valid + total.unlike;
  printf("{\"files\": %ld, \"cases\": %ld, \"accepted\": %ld, \"run\": %ld, \"unnamed\": %ld, "
         "\"crashes\": %ld, \"hangs\": %ld, \"wrongly_accepted\": %ld, \"refused_valid\": %ld, "
         "\"unlike\": %ld, \"bad\": %ld}\n",
         total.files, total.cases, total.accepted, total.run, total.unnamed, total.crashes,
         total.hangs, total.wrongly_accepted, total.refused_valid, total.unlike, bad);
  return bad != 0;
}
