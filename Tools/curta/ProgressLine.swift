// One line on the standard error that says how far a long job is.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser

/// When progress is shown.
enum ProgressMode: String, ExpressibleByArgument, CaseIterable {
  /// On a terminal.
  case auto
  case always
  case never
}

/// Shows how far a job is: on a terminal one line that is written over and over, elsewhere a line
/// each tenth of the way.
struct ProgressLine {
  private let isShown: Bool
  private let isTerminal: Bool
  private let clock = ContinuousClock()
  private let start: ContinuousClock.Instant
  private var lastShown: ContinuousClock.Instant?
  private var lastTenth = -1

  init(_ mode: ProgressMode) {
    isTerminal = Terminal.errorIsTerminal
    isShown = mode == .always || (mode == .auto && isTerminal)
    start = clock.now
  }

  /// `done` of `total` parts are done; `what` is being worked on.
  mutating func show(_ what: String, _ done: Int, of total: Int) {
    guard isShown else { return }
    let now = clock.now
    let percent = total > 0 ? done * 100 / total : 0
    if isTerminal {
      // Ten times a second is enough to read.
      if let lastShown, now - lastShown < .milliseconds(100), done < total { return }
      lastShown = now
      let elapsed = seconds(now - start)
      let left = done > 0 ? elapsed / Double(done) * Double(total - done) : 0
      let rest = done > 0 && done < total ? ", \(decimal(left, 0)) s left" : ""
      let line = "\(percent) % \(printable(what))\(rest)".prefix(Terminal.columns - 1)
      Terminal.mutter("\r\u{1B}[K" + line)
    } else if percent / 10 > lastTenth {
      lastTenth = percent / 10
      Terminal.note("\(percent) % \(printable(what))")
    }
  }

  /// Removes the line.
  func clear() {
    if isShown, isTerminal { Terminal.mutter("\r\u{1B}[K") }
  }
}
