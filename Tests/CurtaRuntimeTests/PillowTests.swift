// Resampling against Pillow's Image.resize, where python3 (or what CURTA_PYTHON names) has it.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat
import CurtaTestSupport
import Foundation
import Testing

@testable import CurtaRuntime

/// One Python process that resizes images: a line with the sizes and the filter's number, then bytes.
private enum Pillow {
  static let isThere: Bool = {
    let there = (try? run("import PIL", Data()).status == 0) ?? false
    if !there {
      print(
        "SKIPPED: python3 has no Pillow (name one in CURTA_PYTHON); resampling was NOT compared")
    }
    return there
  }()

  static let script = """
    import sys
    from PIL import Image
    source = sys.stdin.buffer
    while line := source.readline():
        h, w, c, H, W, kind = map(int, line.split())
        image = Image.frombytes("L" if c == 1 else "RGB", (w, h), source.read(h * w * c))
        kind = [None, Image.Resampling.BOX, Image.Resampling.BILINEAR, Image.Resampling.BICUBIC][kind]
        # Rows first, as Curta does: Pillow begins with the columns for some sizes.
        image = image.resize((W, h), kind).resize((W, H), kind)
        sys.stdout.buffer.write(image.tobytes())
    """

  static func run(_ script: String, _ input: Data) throws -> (status: Int32, output: Data) {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    let python = ProcessInfo.processInfo.environment["CURTA_PYTHON"] ?? "python3"
    process.arguments = [python, "-c", script]
    let file = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
    try input.write(to: file)
    defer { try? FileManager.default.removeItem(at: file) }
    process.standardInput = try FileHandle(forReadingFrom: file)
    let pipe = Pipe()
    process.standardOutput = pipe
    process.standardError = FileHandle.nullDevice
    try process.run()
    let output = pipe.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    return (process.terminationStatus, output)
  }
}

@Suite struct PillowTests {
  /// Within 1 of 255, with 2 in a pixel of a million where both passes round apart; a box that ends in the middle of a pixel, which Pillow takes or leaves as its
  /// doubles round, may differ by more in that pixel.
  @Test(.enabled(if: Pillow.isThere, "SKIPPED: no Pillow"), arguments: [1, 2, 3] as [UInt32])
  func isPillows(_ filter: UInt32) throws {
    var random = SeededRandom.announced("images for Pillow")
    var input = Data()
    var mine: [UInt8] = []
    var sizes = [(1, 1, 50, 60), (300, 400, 1, 1), (224, 224, 224, 224), (375, 500, 224, 224)]
    for _ in 0..<40 {
      let (h, w) = (1 + random.below(300), 1 + random.below(300))
      sizes.append((h, w, 1 + random.below(200), 1 + random.below(200)))
    }
    for (h, w, height, width) in sizes {
      let channels = random.below(2) == 0 ? 1 : 3
      let image = TestImage(seed: random.next(), height: h, width: w, channels: channels)
      input += Data("\(h) \(w) \(channels) \(height) \(width) \(filter)\n".utf8) + image.pixels
      let model = ImageModel(
        size: (height, width), channels: channels, patch: (1, width), resize: (1, 0, filter),
        layers: 0)
      let session = try TestSession(model.f.build(), Setup())
      try session.set(0, image)
      mine += session.pixels()
    }
    let (status, output) = try Pillow.run(Pillow.script, input)
    let theirs = [UInt8](output)
    try #require(status == 0 && theirs.count == mine.count)
    var equal = 0
    var far = 0
    var most = 0
    for i in mine.indices {
      let distance = abs(Int(mine[i]) - Int(theirs[i]))
      equal += distance == 0 ? 1 : 0
      far += distance > 1 ? 1 : 0
      most = max(most, distance)
    }
    let share = 1_000_000 * equal / mine.count
    print("Pillow, filter \(filter): \(share) of a million pixels equal, \(far) off by more than 1")
    #expect(filter == 1 ? far * 50 < mine.count : far * 100_000 < mine.count && most <= 2)
    #expect(share > 950_000)
  }
}
