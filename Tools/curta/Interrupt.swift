// Ctrl-C: the first one ends a run cleanly, the second one at once.
// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Set by the signal handler, which may do no more than that.
nonisolated(unsafe) private var received: sig_atomic_t = 0

enum Interrupt {
  /// Whether Ctrl-C was pressed.
  static var happened: Bool { received != 0 }

  /// Catches the next Ctrl-C; the one after it ends the program.
  static func catchOnce() {
    var action = sigaction()
    action.__sigaction_handler.sa_handler = { _ in received = 1 }
    action.sa_flags = Int32(bitPattern: UInt32(SA_RESETHAND))
    sigaction(SIGINT, &action, nil)
  }
}
