// Image programs in tests: the vectors, their pixels, and sessions that take them.
// SPDX-License-Identifier: Apache-2.0

import CCurta
import CurtaFormat
import CurtaTestSupport
import Testing

@testable import CurtaRuntime

/// Pixels [height][width][channels].
struct TestImage {
  var height: Int
  var width: Int
  var channels: Int
  var pixels: [UInt8]

  init(height: Int, width: Int, channels: Int, pixels: [UInt8]) {
    self.height = height
    self.width = width
    self.channels = channels
    self.pixels = pixels
  }

  /// The pixels of a vector: the top byte of each number of `curta-arithmetic.md` section 7.
  init(seed: UInt64, height: Int, width: Int, channels: Int) {
    var z = seed &+ 0x9E37_79B9_7F4A_7C15
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    z ^= z >> 31
    var x = z == 0 ? 1 : z
    var pixels: [UInt8] = []
    for _ in 0..<height * width * channels {
      x ^= x >> 12
      x ^= x << 25
      x ^= x >> 27
      pixels.append(UInt8((x &* 0x2545_F491_4F6C_DD1D) >> 56))
    }
    self.init(height: height, width: width, channels: channels, pixels: pixels)
  }
}

/// A file of `Formats/vectors/valid` that takes images.
struct ImageVector: Sendable, CustomStringConvertible {
  let name: String
  /// Seed, height and width of each.
  let images: [(UInt64, Int, Int)]
  let rowsHash: String
  let identity: String
  let bytes: [UInt8]

  var description: String { name }

  static let all: [ImageVector] = {
    let folder = "Formats/vectors/valid/"
    guard let rows = try? Repository.table(folder + "images.tsv") else { return [] }
    return rows.compactMap { row in
      guard row.count >= 4, let bytes = try? Repository.bytes(folder + row[0]) else { return nil }
      let n = row[1].split(separator: ",").compactMap { UInt64($0) }
      let images = stride(from: 0, to: n.count, by: 3).map {
        (n[$0], Int(n[$0 + 1]), Int(n[$0 + 2]))
      }
      return ImageVector(
        name: row[0], images: images, rowsHash: row[2], identity: row[3], bytes: bytes)
    }
  }()

  func images(channels: Int) -> [TestImage] {
    images.map { TestImage(seed: $0.0, height: $0.1, width: $0.2, channels: channels) }
  }
}

extension TestSession {
  var image: curta_image_info {
    get throws {
      var info = curta_image_info()
      info.struct_size = UInt32(MemoryLayout<curta_image_info>.size)
      try check(curta_session_image(pointer, &info))
      return info
    }
  }

  var state: UnsafeMutablePointer<SessionState> { UnsafeMutablePointer<SessionState>(pointer) }

  func set(_ index: Int, _ image: TestImage) throws {
    try check(
      curta_set_image(
        pointer, index, image.pixels, image.width, image.height, image.channels, 0))
  }

  /// The pixels that the program sees as image `index`.
  func pixels(_ index: Int = 0) -> [UInt8] {
    let size = Int(state.pointee.program.image!.bytes)
    let all = state.pointee.shared(state.pointee.scratch.pixels, UInt8.self)
    return Array(UnsafeBufferPointer(start: all + index * size, count: size))
  }

  /// Steps `images` in batches of `batch`; gives all rows.
  func run(_ images: [TestImage], batch: Int) throws -> [Int32] {
    var all: [Int32] = []
    for start in stride(from: 0, to: images.count, by: batch) {
      let piece = images[start..<min(start + batch, images.count)]
      for (i, image) in piece.enumerated() { try set(i, image) }
      try check(curta_step_images(pointer, piece.count))
      for row in 0..<piece.count { all += logits(row)! }
    }
    return all
  }

  /// Runs op `i` of the program alone, over a step of `count` images.
  func runOp(_ i: UInt32, images count: Int = 1, parts: Int = 1) throws {
    state.pointee.count = count * Int(info.context)
    state.pointee.outputs = count
    state.pointee.patches = count * Int(state.pointee.program.image!.patches)
    let record = try state.pointee.program.op(i)
    state.pointee.op.code = record.code
    for k in 1..<16 { state.pointee.op.operands[k] = try record.operand(k) }
    state.pointee.rotations = nil
    Session(state).runSplit(parts)
  }
}
