// Resampling: against the vectors, against exact fractions, against Pillow, and at its ends.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat
import CurtaTestSupport
import Foundation
import Testing

@testable import CurtaRuntime

/// A fraction of 128-bit integers, in no lowest terms but with a positive denominator.
private struct Fraction: Comparable {
  var n: Int128
  var d: Int128

  init(_ n: Int128, _ d: Int128 = 1) {
    self.n = n
    self.d = d
  }
  static func == (a: Fraction, b: Fraction) -> Bool { a.n * b.d == b.n * a.d }
  static func < (a: Fraction, b: Fraction) -> Bool { a.n * b.d < b.n * a.d }
  static func + (a: Fraction, b: Fraction) -> Fraction {
    Fraction(a.n * b.d + b.n * a.d, a.d * b.d)
  }
  static func - (a: Fraction, b: Fraction) -> Fraction { a + Fraction(-b.n, b.d) }
  static func * (a: Fraction, b: Fraction) -> Fraction { Fraction(a.n * b.n, a.d * b.d) }
  static func / (a: Fraction, b: Fraction) -> Fraction { Fraction(a.n * b.d, a.d * b.n) }
  var magnitude: Fraction { Fraction(n < 0 ? -n : n, d) }
  var floor: Int128 { n >= 0 ? n / d : -((d - 1 - n) / d) }
}

private func below(_ a: Int128, _ b: Int128) -> Int128 { Fraction(a, b).floor }

/// Coefficients of pixel `i` of a line of `n` that becomes one of `to`, as section 5 says it in
/// fractions.
private func coefficients(_ n: Int, _ to: Int, _ i: Int, _ filter: Filter) -> (Int, [Int128]) {
  let half = Fraction(1, 2)
  let r = max(Fraction(1), Fraction(Int128(n), Int128(to)))
  let x = (Fraction(Int128(i)) + half) * Fraction(Int128(n), Int128(to))
  let support = r * (filter == .box ? half : filter == .bilinear ? Fraction(1) : Fraction(2))
  let first = max(0, (x - support + half).floor)
  let end = min(Int128(n), (x + support + half).floor)
  let u: Int128 = 1 << 16
  let w = (first..<end).map { j -> Int128 in
    let place = (Fraction(j) + half - x) / r
    let t = (place.magnitude * Fraction(u) + half).floor
    switch filter {
    case .box: return Fraction(-1, 2) < place && place <= half ? 1 : 0
    case .bilinear: return max(0, u - t)
    default:
      if t < u { return 3 * t * t * t - 5 * t * t * u + 2 * u * u * u }
      if t < 2 * u { return -t * t * t + 5 * t * t * u - 8 * t * u * u + 4 * u * u * u }
      return 0
    }
  }
  let sum = w.reduce(0, +)
  return (Int(first), w.map { below(2 * (1 << 22) * $0 + sum, 2 * sum) })
}

/// A line resampled by those.
private func line(_ pixels: [UInt8], to: Int, _ filter: Filter) -> [UInt8] {
  (0..<to).map { i in
    let (first, c) = coefficients(pixels.count, to, i, filter)
    let sum = c.enumerated().reduce(Int128(1) << 21) {
      $0 + $1.element * Int128(pixels[first + $1.offset])
    }
    return UInt8(min(max(sum >> 22, 0), 255))
  }
}

/// [h][w][channels] as an image of the record.
private func resized(_ image: TestImage, _ record: ImageRecord) -> [UInt8] {
  var (height, width) = (Int(record.height), Int(record.width))
  if record.resize == .crop {
    let (h, w, edge) = (image.height, image.width, Int(record.edge))
    let a = min(h, w)
    height = (2 * h * edge + a) / (2 * a)
    width = (2 * w * edge + a) / (2 * a)
  }
  let (top, left) = ((height - Int(record.height)) / 2, (width - Int(record.width)) / 2)
  let channels = image.channels
  var out = [UInt8](repeating: 0, count: Int(record.bytes))
  for c in 0..<channels {
    let rows = (0..<image.height).map { y in
      line(
        (0..<image.width).map { image.pixels[(y * image.width + $0) * channels + c] }, to: width,
        record.filter)
    }
    for x in 0..<Int(record.width) {
      let column = line(rows.map { $0[left + x] }, to: height, record.filter)
      for y in 0..<Int(record.height) {
        out[(y * Int(record.width) + x) * channels + c] = column[top + y]
      }
    }
  }
  return out
}

@Suite struct ResamplerTests {
  private static let filters: [Filter] = [.box, .bilinear, .bicubic]

  private func lines(_ n: Int, _ to: Int, _ filter: Filter) -> [(Int, [Int32])] {
    let line = ResampledLine(from: n, to: to, filter)
    var c = [Int32](repeating: 0x5A5A, count: line.widest + 1)
    return (0..<to).map { i in
      let window = line.coefficients(i, to: &c)
      #expect(c[line.widest] == 0x5A5A && window.count <= line.widest)
      return (window.lowerBound, Array(c.prefix(window.count)))
    }
  }

  @Test func linesOfTheVectors() throws {
    for var f in try arithmetic("resample") {
      let (n, to) = (f.number(Int.self), f.number(Int.self))
      let filter = Filter(rawValue: f.number())!
      let pixels = f.list(UInt8.self)
      let out = lines(n, to, filter).map { first, c -> UInt8 in
        let sum = c.enumerated().reduce(Int32(1) << 21) {
          $0 &+ $1.element &* Int32(pixels[first + $1.offset])
        }
        return UInt8(min(max(sum >> 22, 0), 255))
      }
      #expect(out == f.list(), "\(f.line)")
    }
  }

  @Test func imagesOfTheVectors() throws {
    for var f in try arithmetic("resize") {
      let size = (f.number(Int.self), f.number(Int.self))
      let channels = f.number(Int.self)
      let resize = (f.number(UInt32.self), f.number(UInt32.self), f.number(UInt32.self))
      let (height, width) = (f.number(Int.self), f.number(Int.self))
      let image = TestImage(
        height: height, width: width, channels: channels, pixels: f.list(UInt8.self))
      let model = ImageModel(
        size: size, channels: channels, patch: size, resize: resize, layers: 0)
      let session = try TestSession(model.f.build(), Setup())
      try session.set(0, image)
      #expect(session.pixels() == f.list(), "\(f.line)")
    }
  }

  @Test func coefficientsAreTheFractions() {
    var random = SeededRandom.announced("coefficients of resampling")
    var sizes = [(1, 1), (1, 9), (9, 1), (2, 3), (7, 7), (40, 13), (13, 40), (300, 1), (65535, 3)]
    for _ in 0..<30 { sizes.append((1 + Int(random.below(200)), 1 + Int(random.below(60)))) }
    for (n, to) in sizes {
      for filter in ResamplerTests.filters {
        for (i, (first, c)) in lines(n, to, filter).enumerated() {
          let expected = coefficients(n, to, i, filter)
          #expect(first == expected.0 && c.map { Int128($0) } == expected.1, "\(n) to \(to), \(i)")
        }
      }
    }
  }

  /// Coefficients of a window, all taken positive, times 255 fit int32 with the half.
  @Test func sumsFitInt32() {
    var largest: Int64 = 0
    for n in [1, 2, 3, 4, 5, 6, 7, 8, 9, 33, 250, 65535] {
      for to in [1, 2, 3, 4, 5, 6, 7, 9, 11, 64, 250, 4096] {
        for filter in ResamplerTests.filters {
          for (_, c) in lines(n, to, filter) {
            largest = max(largest, c.reduce(0) { $0 + Int64($1.magnitude) })
          }
        }
      }
    }
    #expect(largest < 13 << 22 / 10 && largest * 255 + 1 << 21 < 1 << 31)
  }

  @Test func imagesAreTheFractions() throws {
    var random = SeededRandom.announced("resampled images")
    for _ in 0..<60 {
      let size = (1 + Int(random.below(14)), 1 + Int(random.below(14)))
      let filter = UInt32(1 + random.below(3))
      let edge = UInt32(max(size.0, size.1) + Int(random.below(6)))
      let resize = random.below(2) == 0 ? (UInt32(1), UInt32(0), filter) : (2, edge, filter)
      let channels = random.below(2) == 0 ? 1 : 3
      let model = ImageModel(
        size: size, channels: channels, patch: size, resize: resize, layers: 0)
      let session = try TestSession(model.f.build(), Setup())
      let image = TestImage(
        seed: random.next(), height: 1 + Int(random.below(50)), width: 1 + Int(random.below(50)),
        channels: channels)
      try session.set(0, image)
      let record = session.state.pointee.program.image!
      #expect(session.pixels() == resized(image, record), "\(record), \(image.height)")
      #expect(session.arena.canariesAreWhole)
    }
  }

  /// The largest sides in both directions, in as many strips as it takes.
  @Test func largestImages() throws {
    let model = ImageModel(
      size: (20, 31), patch: (4, 31), resize: (1, 0, 3), layers: 0)
    let session = try TestSession(model.f.build(), Setup())
    let side = Int(try session.image.largest_side)
    #expect(side == 64 * 31)
    for (height, width) in [(side, 5), (5, side), (side, side)] {
      let flat = TestImage(
        height: height, width: width, channels: 1,
        pixels: [UInt8](repeating: 201, count: height * width))
      try session.set(0, flat)
      #expect(session.pixels().allSatisfy { $0 == 201 })
      #expect(session.arena.canariesAreWhole)
    }
    #expect(throws: StatusError(Status.badArgument.rawValue)) {
      try session.set(
        0,
        TestImage(
          height: side + 1, width: 1, channels: 1, pixels: [UInt8](repeating: 0, count: side + 1)))
    }
  }
}
