// What one row of `curta bench` runs: pp128, tg64, tg64@2000, img.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import CurtaCompile
import CurtaEvaluate
import Glibc

/// A piece of work whose time is taken.
struct BenchRow: ExpressibleByArgument, Equatable {
  enum Work: Equatable {
    /// So many tokens of a prompt, in steps of the chunk.
    case prompt(Int)
    /// So many tokens, one after the other.
    case tokens(Int)
    /// One image; its edge, or nil for the model's own.
    case image(Int?)
  }

  let name: String
  let work: Work
  /// Tokens in the context before the clock starts.
  let depth: Int

  /// `pp128`, `tg64`, either with `@2000`, `img` or `img224`.
  init?(argument: String) {
    name = argument
    let parts = argument.split(separator: "@", omittingEmptySubsequences: false)
    guard let what = parts.first, parts.count <= 2 else { return nil }
    var depth = 0
    if parts.count == 2 {
      guard let value = Int(parts[1]), value >= 0 else { return nil }
      depth = value
    }
    self.depth = depth
    let number = Int(what.drop { $0.isLetter })
    switch (what.prefix { $0.isLetter }, number) {
    case ("pp", .some(let n)) where n >= 1: work = .prompt(n)
    case ("tg", .some(let n)) where n >= 1: work = .tokens(n)
    case ("img", _) where parts.count == 1 && (what == "img" || number != nil):
      work = .image(number)
    default: return nil
    }
  }

  /// Positions that the row needs; 0 for images.
  var positions: Int {
    switch work {
    case .prompt(let n), .tokens(let n): depth + n
    case .image: 0
    }
  }

  /// How many things are counted: tokens, or images.
  var count: Int {
    switch work {
    case .prompt(let n), .tokens(let n): n
    case .image: 1
    }
  }

  /// Runs the row once. The hash is that of the last logits, which depend on the whole row.
  func run(_ session: HostSession) throws -> BenchTime {
    let start: BenchTime
    switch work {
    case .prompt(let n):
      try session.rewind()
      let tokens = BenchRow.tokens(depth + n, below: session.vocabulary)
      try session.feed(Array(tokens[..<depth]))
      let timed = Array(tokens[depth...])
      start = BenchTime.now
      try session.feed(timed)
    case .tokens(let n):
      try session.rewind()
      let tokens = BenchRow.tokens(depth + n, below: session.vocabulary)
      try session.feed(Array(tokens[..<depth]))
      start = BenchTime.now
      for i in depth..<(depth + n) { try session.step(tokens[i...i]) }
    case .image(let edge):
      guard let image = session.session.image else {
        throw HostError.request("\(session.file.path) takes text, not images: rows are pp and tg")
      }
      let (width, height) = (Int(image.width), Int(image.height))
      guard edge == nil || (edge == width && edge == height) else {
        throw HostError.request(
          "\(session.file.path) takes images of \(width) x \(height), not \(name); say img")
      }
      let channels = Int(image.channels)
      let pixels = BenchRow.tokens(width * height * channels, below: 256).map { UInt8($0) }
      try session.setImage(0, pixels, width: width, height: height, channels: channels)
      start = BenchTime.now
      try session.stepImages()
    }
    var time = BenchTime.now
    time.seconds -= start.seconds
    time.processor -= start.processor
    var hash = SHA256()
    hash.update(littleEndian: session.logits())
    time.hash = hash.hexDigest()
    return time
  }

  /// The same numbers for everybody.
  static func tokens(_ count: Int, below limit: Int) -> [Int32] {
    var x: UInt64 = 0x9E37_79B9_7F4A_7C15
    return (0..<count).map { _ in
      x ^= x << 13
      x ^= x >> 7
      x ^= x << 17
      return Int32(truncatingIfNeeded: (x >> 33) % UInt64(limit))
    }
  }
}

/// What a row took, or the two clocks at some moment.
struct BenchTime {
  /// Of the clock on the wall.
  var seconds: Double
  /// Of the processor, all threads together: neighbours do not add to it.
  var processor: Double
  var hash = ""

  static var now: BenchTime {
    func seconds(_ clock: clockid_t) -> Double {
      var time = timespec()
      clock_gettime(clock, &time)
      return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
    }
    return BenchTime(
      seconds: seconds(CLOCK_MONOTONIC), processor: seconds(CLOCK_PROCESS_CPUTIME_ID))
  }
}

/// `pp128,tg64`, or `-` for rows that come from the standard input.
struct BenchRows: ExpressibleByArgument {
  let rows: [BenchRow]?

  init?(argument: String) {
    if argument == "-" {
      rows = nil
      return
    }
    let parts = argument.split(separator: ",").map { BenchRow(argument: String($0)) }
    guard !parts.isEmpty, !parts.contains(nil) else { return nil }
    rows = parts.compactMap(\.self)
  }
}

/// `1,2`
struct BenchNumbers: ExpressibleByArgument {
  let values: [UInt32]

  init(_ values: [UInt32]) { self.values = values }

  init?(argument: String) {
    let parts = argument.split(separator: ",").map { UInt32($0) }
    guard !parts.isEmpty, !parts.contains(nil) else { return nil }
    values = parts.compactMap(\.self)
  }

  var defaultValueDescription: String { values.map(String.init).joined(separator: ",") }
}
