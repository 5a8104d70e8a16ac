// Stop strings in a text that comes in pieces: what may be shown, and when to stop.
// SPDX-License-Identifier: Apache-2.0

/// Holds back the end of a text as long as it may be the beginning of a stop string.
///
/// What it lets through never contains a stop string, nor the beginning of one that came to be.
struct StopMatcher {
  /// The stop strings as UTF-8, none empty.
  private let stops: [[UInt8]]
  private var held: [UInt8] = []
  /// The stop string that was found, after which nothing is let through.
  private(set) var found: String?

  init(_ stops: [String]) { self.stops = stops.map { Array($0.utf8) }.filter { !$0.isEmpty } }

  /// The text that may be shown after `piece` has come.
  ///
  /// Of several stop strings the one that begins first counts, then the shorter one.
  mutating func next(_ piece: String) -> String {
    guard found == nil else { return "" }
    guard !stops.isEmpty else { return piece }
    held += piece.utf8
    for start in held.indices {
      let rest = held[start...]
      let matches = stops.filter { rest.starts(with: $0) }
      if let stop = matches.min(by: { $0.count < $1.count }) {
        found = String(decoding: stop, as: UTF8.self)
        return take(start)
      }
      // A longer stop string may still come to begin here, and it then counts.
      if stops.contains(where: { $0.count > rest.count && $0.starts(with: rest) }) {
        return take(start)
      }
    }
    return take(held.count)
  }

  /// What was held back, when no more text comes.
  mutating func end() -> String {
    guard found == nil else { return "" }
    for start in held.indices {
      let matches = stops.filter { held[start...].starts(with: $0) }
      guard let stop = matches.min(by: { $0.count < $1.count }) else { continue }
      found = String(decoding: stop, as: UTF8.self)
      return take(start)
    }
    return take(held.count)
  }

  /// Removes the first `count` bytes. They end at a character's end, as stop strings begin at one.
  private mutating func take(_ count: Int) -> String {
    let text = String(decoding: held[..<count], as: UTF8.self)
    held.removeFirst(count)
    return text
  }
}
