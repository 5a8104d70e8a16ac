// curta-sort on its whole domain: six digits 0 … 4 and ':' in, the digits in order and the end
// token out, greedily. Prints JSON: inputs, digits right, digits and end token right.
// usage: sort MODEL
// SPDX-License-Identifier: Apache-2.0

#include "driver.h"

enum { DIGITS = 6, INPUTS = 15625, COLON = 5, END = 6 };

int main(int argc, char **argv) {
  if (argc != 2)
    return 64;
  size_t size = 0;
  void *file = read_file(argv[1], &size);
  curta_options options = driver_options(DIGITS + 1, 1, 1, 0);
  curta_plan_info plan = driver_plan(file, size, &options);
  curta_session *session = driver_session(file, size, &options, &plan);
  int digits_right = 0, right = 0;
  for (int input = 0; input < INPUTS; input++) {
    int32_t tokens[DIGITS + 1] = {[DIGITS] = COLON}, counts[5] = {0};
    for (int i = 0, rest = input; i < DIGITS; i++, rest /= 5)
      counts[tokens[i] = rest % 5]++;
    check(curta_rewind(session, 0), "rewind");
    check(curta_step(session, tokens, DIGITS + 1, 1), "step");
    int wrong = 0;
    for (int digit = 0; digit < 5; digit++) {
      for (int i = 0; i < counts[digit]; i++) {
        int32_t token = driver_greedy(session);
        wrong += token != digit;
        check(curta_step(session, &token, 1, 1), "step");
      }
    }
    digits_right += wrong == 0;
    right += wrong == 0 && driver_greedy(session) == END;
  }
  printf("{\"inputs\": %d, \"digits_right\": %d, \"right\": %d}\n", INPUTS, digits_right, right);
  return 0;
}
