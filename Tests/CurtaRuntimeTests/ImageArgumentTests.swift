// What calls say to image programs, and what image calls say: clear statuses, and nothing changed.
// SPDX-License-Identifier: Apache-2.0

import CCurta
import CurtaFormat
import CurtaTestSupport
import Testing

@testable import CurtaRuntime

@Suite struct ImageArgumentTests {
  private func status(_ code: curta_status) -> Status? { Status(rawValue: code) }

  private func model(channels: Int = 3, resize: (UInt32, UInt32, UInt32) = (2, 20, 3)) -> [UInt8] {
    ImageModel(size: (16, 12), channels: channels, patch: (8, 6), resize: resize).f.build()
  }

  private func noise(_ height: Int, _ width: Int, _ channels: Int = 3) -> TestImage {
    TestImage(seed: 7, height: height, width: width, channels: channels)
  }

  @Test func infoIsTheRecord() throws {
    let session = try TestSession(model(), Setup())
    let info = try session.image
    #expect(info.height == 16 && info.width == 12 && info.channels == 3)
    #expect(info.patch_height == 8 && info.patch_width == 6 && info.largest_side == 1024)
    #expect(info.resize == UInt32(CURTA_RESIZE_CROP) && info.edge == 20)
    #expect(info.filter == UInt32(CURTA_FILTER_BICUBIC))
    var wrong = curta_image_info()
    for size: UInt32 in [0, 36, 44] {
      wrong.struct_size = size
      #expect(status(curta_session_image(session.pointer, &wrong)) == .badArgument)
    }
    wrong.struct_size = 40
    #expect(status(curta_session_image(session.pointer, nil)) == .badArgument)
    #expect(status(curta_session_image(nil, &wrong)) == .badArgument)
    let tokens = try TestSession(ValidVector.named("tiny").bytes, Setup())
    #expect(status(curta_session_image(tokens.pointer, &wrong)) == .unsupported)
  }

  @Test func planOfImages() throws {
    let file = GuardedBytes(model())
    let one = try plan(file, Setup())
    #expect(one.context == 5 && one.chunk == 0 && one.outputs == 1 && one.vocabulary == 7)
    // The options of tokens are not looked at.
    let other = try plan(file, Setup(context: 3, chunk: 99))
    #expect(other.context == 5 && other.chunk == 0 && other.arena_bytes == one.arena_bytes)
    let many = try plan(file, Setup(outputs: 3))
    // 2 heads of 16 codes and a scale, at 5 or 15 positions.
    #expect(one.state_bytes == 192 + 128 && many.state_bytes == 512 + 256)
    #expect(try plan(file, Setup(outputs: 1 << 20 / 5)).outputs == 1 << 20 / 5)
    for outputs in [1 << 20 / 5 + 1, 1 << 31, UInt32.max] as [UInt32] {
      #expect(throws: StatusError(Status.badArgument.rawValue)) {
        _ = try plan(file, Setup(outputs: outputs))
      }
    }
    let parts = one.session_bytes + one.weight_bytes + one.buffer_bytes + one.state_bytes
    #expect(parts + one.scratch_bytes == one.arena_bytes)
    // Resampling works in what a step uses; only where that is too little it takes more.
    let plain = try plan(GuardedBytes(model(resize: (0, 0, 0))), Setup())
    #expect(plain.arena_bytes == one.arena_bytes)
    let resizes: [(UInt32, UInt32, UInt32)] = [(0, 0, 0), (1, 0, 3)]
    let tall = try resizes.map { resize in
      let model = ImageModel(size: (256, 12), patch: (128, 12), resize: resize)
      return try plan(GuardedBytes(model.f.build()), Setup()).arena_bytes
    }
    #expect(tall[0] < tall[1])
  }

  @Test func theArenaIsAsPlannedToTheByte() throws {
    for vector in ImageVector.all {
      let file = GuardedBytes(vector.bytes)
      let setup = Setup(outputs: 2, threads: 2, runner: .threads)
      let needed = Int(try plan(file, setup).arena_bytes)
      var options = setup.options
      for size in [0, needed / 2, needed - 64, needed - 1] {
        let arena = GuardedBytes(count: size, fill: 0x77)
        var made: OpaquePointer? = nil
        let code = curta_session_init(file.base, file.count, &options, arena.base, size, &made)
        #expect(status(code) == .arenaTooSmall && made == nil)
      }
    }
  }

  @Test func setImageArguments() throws {
    let session = try TestSession(model(), Setup(outputs: 2))
    let good = noise(30, 40)
    try session.set(0, good)
    try check(curta_step_images(session.pointer, 1))
    let (row, pixels) = (session.logits(0), session.pixels())
    func set(
      _ index: Int = 0, _ width: Int = 40, _ height: Int = 30, _ channels: Int = 3, _ pitch: Int = 0
    ) -> Status? {
      status(
        curta_set_image(session.pointer, index, good.pixels, width, height, channels, pitch))
    }
    for index in [-1, 2, Int.max, Int.min] { #expect(set(index) == .badArgument) }
    for side in [0, -1, 1025, 1 << 31, Int.max, Int.min] {
      #expect(set(0, side) == .badArgument && set(0, 40, side) == .badArgument)
    }
    for channels in [0, 2, 5, -1, Int.max] { #expect(set(0, 40, 30, channels) == .badArgument) }
    for pitch in [1, 119, -120, Int.min] { #expect(set(0, 40, 30, 3, pitch) == .badArgument) }
    #expect(status(curta_set_image(session.pointer, 0, nil, 4, 4, 3, 0)) == .badArgument)
    #expect(status(curta_set_image(nil, 0, good.pixels, 4, 4, 3, 0)) == .badArgument)
    #expect(session.logits(0) == row && session.pixels() == pixels)
    #expect(set() == .ok && session.logits(0) == nil && session.pixels() == pixels)
    // Only its own size where there is no resize, and grey alone for grey.
    let plain = try TestSession(model(channels: 1, resize: (0, 0, 0)), Setup())
    #expect(try plain.image.largest_side == 16)
    try plain.set(0, noise(16, 12, 1))
    #expect(plain.pixels() == noise(16, 12, 1).pixels)
    for image in [noise(12, 16, 1), noise(16, 13, 1), noise(16, 12, 3), noise(16, 12, 4)] {
      #expect(throws: StatusError(Status.badArgument.rawValue)) { try plain.set(0, image) }
    }
  }

  /// Grey for colours, a fourth byte a pixel, and gaps between rows.
  @Test(arguments: [(0, 0, 0), (1, 0, 2), (2, 20, 3)] as [(UInt32, UInt32, UInt32)])
  func pixelsOfEveryForm(_ resize: (UInt32, UInt32, UInt32)) throws {
    let session = try TestSession(model(resize: resize), Setup())
    let (height, width) = resize.0 == 0 ? (16, 12) : (23, 35)
    let grey = noise(height, width, 1)
    let colours = noise(height, width, 3)
    func image(_ channels: Int, _ pixel: (Int) -> [UInt8]) -> TestImage {
      TestImage(
        height: height, width: width, channels: channels,
        pixels: (0..<height * width).flatMap(pixel))
    }
    try session.set(0, image(3) { [UInt8](repeating: grey.pixels[$0], count: 3) })
    let copied = session.pixels()
    try session.set(0, grey)
    #expect(session.pixels() == copied)
    try session.set(0, colours)
    let expected = session.pixels()
    try session.set(0, image(4) { Array(colours.pixels[3 * $0..<3 * $0 + 3]) + [UInt8($0 & 255)] })
    #expect(session.pixels() == expected && expected != copied)
    // Nothing behind the last pixel is read.
    let pitch = 3 * width + 5
    let gaps = GuardedBytes(count: pitch * (height - 1) + 3 * width, fill: 0x99)
    for y in 0..<height {
      colours.pixels.withUnsafeBytes {
        (gaps.base + y * pitch).copyMemory(
          from: $0.baseAddress! + 3 * width * y, byteCount: 3 * width)
      }
    }
    let bytes = gaps.base.assumingMemoryBound(to: UInt8.self)
    try check(curta_set_image(session.pointer, 0, bytes, width, height, 3, pitch))
    #expect(session.pixels() == expected)
  }

  @Test func stepArguments() throws {
    let session = try TestSession(model(), Setup(outputs: 3))
    for i in 0..<3 { try session.set(i, noise(20 + i, 17)) }
    try check(curta_step_images(session.pointer, 3))
    let rows = (0..<3).map { session.logits($0)! }
    for count in [0, 4, -1, Int.max, Int.min] {
      #expect(status(curta_step_images(session.pointer, count)) == .badArgument)
    }
    #expect(status(curta_step_images(nil, 1)) == .badArgument)
    #expect(status(curta_step(session.pointer, [1], 1, 1)) == .unsupported)
    #expect((0..<3).map { session.logits($0)! } == rows && session.logits(3) == nil)
    // Images stay; each is as it is alone.
    try check(curta_step_images(session.pointer, 2))
    #expect(session.logits(0) == rows[0] && session.logits(1) == rows[1])
    #expect(session.logits(2) == nil && curta_past(session.pointer) == 0)
    let alone = try TestSession(model(), Setup(kernels: 1))
    for i in 0..<3 { #expect(try alone.run([noise(20 + i, 17)], batch: 1) == rows[i]) }
    // An image that was never set is black.
    try alone.set(
      0, TestImage(height: 9, width: 9, channels: 1, pixels: [UInt8](repeating: 0, count: 81)))
    try check(curta_step_images(alone.pointer, 1))
    let fresh = try TestSession(model(), Setup(fill: 0x3C))
    try check(curta_step_images(fresh.pointer, 1))
    #expect(fresh.logits(0) == alone.logits(0))

    let tokens = try TestSession(ValidVector.named("tiny").bytes, Setup())
    try tokens.step([1, 2])
    let logits = tokens.logits(0)
    #expect(status(curta_step_images(tokens.pointer, 1)) == .unsupported)
    #expect(
      status(curta_set_image(tokens.pointer, 0, noise(4, 4).pixels, 4, 4, 3, 0)) == .unsupported)
    #expect(tokens.logits(0) == logits && curta_past(tokens.pointer) == 2)
  }

  /// Calls of tokens.
  @Test func whatImagesHaveNot() throws {
    let session = try TestSession(model(), Setup())
    try session.set(0, noise(20, 17))
    try check(curta_step_images(session.pointer, 1))
    let row = session.logits(0)
    var sampling = curta_sampling()
    sampling.struct_size = UInt32(MemoryLayout<curta_sampling>.size)
    var token: Int32 = 5
    #expect(status(curta_sample(session.pointer, &sampling, &token)) == .unsupported && token == 5)
    var (tokens, count) = ([Int32](repeating: 0, count: 8), 0)
    let scratch = GuardedBytes(count: 64)
    let text: [CChar] = [97, 98]
    #expect(
      status(
        curta_encode(
          session.pointer, text, 2, &tokens, 8, &count, scratch.base, scratch.count))
        == .unsupported)
    #expect(curta_session_save_size(session.pointer) == 0)
    var bytes = [UInt8](repeating: 0, count: 4096)
    #expect(
      status(curta_session_save(session.pointer, &bytes, bytes.count, &count)) == .unsupported)
    #expect(status(curta_rewind(session.pointer, 1)) == .badArgument)
    #expect(session.logits(0) == row)
    #expect(status(curta_rewind(session.pointer, 0)) == .ok && session.logits(0) == nil)
  }

  /// A saved session that names the model and is whole otherwise.
  @Test func restoringIsRefused() throws {
    let donor = try TestSession(ValidVector.named("tiny").bytes, Setup())
    try donor.step([1, 2, 3])
    var bytes = [UInt8](repeating: 0, count: curta_session_save_size(donor.pointer))
    var size = 0
    try check(curta_session_save(donor.pointer, &bytes, bytes.count, &size))
    let session = try TestSession(model(), Setup())
    try session.set(0, noise(20, 17))
    bytes.put(24, 8, session.info.identity)
    bytes.put(36, 4, UInt64(session.info.vocabulary))
    bytes.put(40, 4, 1)
    bytes.put(size - 8, 8, referenceXXH64(bytes[0..<size - 8]))
    let expected = session.pixels()
    #expect(status(curta_session_restore(session.pointer, bytes, size)) == .unsupported)
    #expect(session.pixels() == expected && curta_past(session.pointer) == 0)
    #expect(session.arena.canariesAreWhole)
  }
}
