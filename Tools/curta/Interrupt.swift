// Ctrl-C: it ends a run cleanly, or an answer of a chat; in a run the second one ends at once.
// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Set by the signal handler, which may do no more than that.
nonisolated(unsafe) private var received: sig_atomic_t = 0

enum Interrupt {
  /// Whether Ctrl-C was pressed.
  static var happened: Bool { received != 0 }

  /// Catches the next Ctrl-C; the one after it ends the program.
  static func catchOnce() { handle(flags: UInt32(SA_RESETHAND)) }

  /// Catches every Ctrl-C. A read that waits is woken by it (EINTR).
  static func catchAll() { handle(flags: 0) }

  /// Forgets a Ctrl-C that was seen.
  static func clear() { received = 0 }

  private static func handle(flags: UInt32) {
    var action = sigaction()
    action.__sigaction_handler.sa_handler = { _ in received = 1 }
    action.sa_flags = Int32(bitPattern: flags)
    sigaction(SIGINT, &action, nil)
    // Whoever started us may have blocked it.
    var signals = sigset_t()
    sigemptyset(&signals)
    sigaddset(&signals, SIGINT)
    sigprocmask(SIG_UNBLOCK, &signals, nil)
  }
}
