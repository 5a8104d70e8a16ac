// Pictures out of files: formats, sizes, damage; folders and archives of them.
// SPDX-License-Identifier: Apache-2.0

import CurtaTestSupport
import Foundation
import Testing

@testable import CurtaEvaluate

@Suite struct ImageFileTests {
  /// 12 by 10 in grey, 20 y + 5 x, by libjpeg-turbo in quality 85.
  static let jpeg = Data(
    base64Encoded:
      "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAUDBAQEAwUEBAQFBQUGBwwIBwcHBw8LCwkMEQ8SEhEPERETFhwXExQaFR"
      + "ERGCEYGh0dHx8fExciJCIeJBweHx7/wAALCAAKAAwBAREA/8QAFQABAQAAAAAAAAAAAAAAAAAABgf/xAAhEAAAAwg"
      + "DAAAAAAAAAAAAAAAAAyMBAgQFBySSohMiMv/aAAgBAQAAPwCfSGknm11DaDpIg7a6i7SEgjqiXiwNoMgjgdRLxYP/2Q=="
  )!
  /// 8 by 8 in grey, 100 + y.
  static let png = Data(
    base64Encoded:
      "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAAAAADhZOFXAAAAIUlEQVR4nC3BMQIAMATAwDxWUf6/W3JHiCdSlGjxxYjV"
      + "AZglGeF2KOywAAAAAElFTkSuQmCC")!

  private func read(_ data: Data) throws -> PixelImage {
    try data.withUnsafeBytes { try PixelImage($0, name: "picture") }
  }

  @Test func aJPEGIsWhatWasWritten() throws {
    let image = try read(ImageFileTests.jpeg)
    #expect(image.width == 12 && image.height == 10 && image.channels == 1)
    for y in 0..<10 {
      for x in 0..<12 {
        let difference = Int(image.pixels[12 * y + x]) - (20 * y + 5 * x)
        #expect(abs(difference) <= 6)
      }
    }
  }

  @Test func aPNGIsWhatWasWritten() throws {
    let image = try read(ImageFileTests.png)
    #expect(image.width == 8 && image.height == 8 && image.channels == 1)
    let rows: [UInt8] = (0..<8).flatMap { [UInt8](repeating: 100 + $0, count: 8) }
    #expect(image.pixels == rows)
  }

  /// No prefix and no changed byte gives a picture of other sizes, or a crash.
  @Test func damageIsAnError() throws {
    var random = SeededRandom.announced("damaged pictures")
    // Nobody misses the last bytes: a JPEG's last marker, a PNG's empty last chunk.
    for (data, spare) in [(ImageFileTests.jpeg, 4), (ImageFileTests.png, 12)] {
      let count = data.count
      for length in 0..<count - spare {
        #expect(throws: HostError.self) { try read(data.prefix(length)) }
      }
      for _ in 0..<2000 {
        var changed = data
        changed[random.below(count)] = UInt8(random.below(256))
        guard let image = try? read(changed) else { continue }
        #expect(image.pixels.count == image.width * image.height * image.channels)
      }
    }
  }

  @Test func portablePixmapsOfEveryDepth() throws {
    func pixels(_ header: String, _ bytes: [UInt8]) throws -> PixelImage {
      try read(Data(header.utf8) + Data(bytes))
    }
    #expect(try pixels("P5\n2 1\n255\n", [7, 9]).pixels == [7, 9])
    #expect(try pixels("P5 # a\n2 1 # b\n15 ", [15, 1]).pixels == [255, 17])
    #expect(try pixels("P5 1 2 65535 ", [255, 255, 128, 0]).pixels == [255, 128])
    #expect(
      try pixels("P6 1 1 255\n", [1, 2, 3])
        == PixelImage(width: 1, height: 1, channels: 3, pixels: [1, 2, 3]))
    for header in ["P5 2 1 255", "P5 2 1 0 ", "P5 2 1 70000 ", "P5 2 -1 255 ", "P6 1 1 255 "] {
      #expect(throws: HostError.self, "\(header)") { try pixels(header, [1, 2]) }
    }
  }

  @Test func classesAreMatchedByNameOrByOrder() throws {
    try withTemporaryFolder { folder in
      for name in ["b b/1.png", "a/1.png", "a/2.PNG", "a/.hidden.png", "a/notes.txt"] {
        let url = folder.appendingPathComponent(name)
        try FileManager.default.createDirectory(
          at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
        try ImageFileTests.png.write(to: url)
      }
      var set = try ImageSet(folder.path)
      #expect(set.entries.map(\.name) == ["a/1.png", "a/2.PNG", "b b/1.png"])
      try set.setLabels(["B_b", "x", "A"], count: 3)
      #expect(set.entries.map(\.label) == [2, 2, 0])
      try set.setLabels([], count: 2)
      #expect(set.entries.map(\.label) == [0, 0, 1])
      #expect(throws: HostError.self) { try set.setLabels(["x", "y", "z"], count: 3) }
      set.keep(2)
      #expect(set.entries.map(\.name) == ["a/1.png", "a/2.PNG"])
      #expect(try set.image(set.entries[0]).width == 8)
    }
  }
}
