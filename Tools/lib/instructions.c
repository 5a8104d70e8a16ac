// A plugin of QEMU that counts the instructions a program executes, by block of code.
// SPDX-License-Identifier: Apache-2.0
//
// qemu-aarch64 -plugin instructions.so,counts=COUNTS PROGRAM ...: COUNTS gets a line "address
// instructions" of each block; the instructions are those of the block times how often it was
// entered. Threads would lose counts: for programs of one thread. The declarations are those of
// QEMU's plugin interface 1, whose header Debian does not carry.

#define _GNU_SOURCE
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t plugin_id;
struct plugin_block;
extern void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id id,
                                                  void (*call)(plugin_id, struct plugin_block *));
extern void qemu_plugin_register_vcpu_tb_exec_inline(struct plugin_block *block, int add,
                                                     void *counter, uint64_t amount);
extern void qemu_plugin_register_atexit_cb(plugin_id id, void (*call)(plugin_id, void *), void *);
extern size_t qemu_plugin_tb_n_insns(const struct plugin_block *block);
extern uint64_t qemu_plugin_tb_vaddr(const struct plugin_block *block);

__attribute__((visibility("default"))) int qemu_plugin_version = 1;

typedef struct counter {
  struct counter *next;
  uint64_t address, instructions;
} counter;

static counter *counters;
static const char *path;

/// A block that is translated again has a counter more; whoever reads adds them up.
static void translated(plugin_id id, struct plugin_block *block) {
  (void)id;
  counter *new = calloc(1, sizeof *new);
  if (new == NULL)
    abort();
  *new = (counter){.next = counters, .address = qemu_plugin_tb_vaddr(block)};
  counters = new;
  qemu_plugin_register_vcpu_tb_exec_inline(block, 0, &new->instructions,
                                           qemu_plugin_tb_n_insns(block));
}

static void ended(plugin_id id, void *unused) {
  (void)id, (void)unused;
  FILE *file = fopen(path, "w");
  if (file == NULL) {
    perror(path);
    abort();
  }
  for (const counter *each = counters; each != NULL; each = each->next)
    fprintf(file, "%" PRIx64 " %" PRIu64 "\n", each->address, each->instructions);
  if (fclose(file) != 0)
    abort();
}

__attribute__((visibility("default"))) int qemu_plugin_install(plugin_id id, const void *info,
                                                               int argc, char **argv) {
  (void)info;
  for (int i = 0; i < argc; i++)
    if (strncmp(argv[i], "counts=", 7) == 0)
      path = argv[i] + 7;
  if (path == NULL) {
    fputs("instructions.so: counts= is missing\n", stderr);
    return 1;
  }
  path = strdup(path);
  qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
  qemu_plugin_register_atexit_cb(id, ended, NULL);
  return 0;
}
