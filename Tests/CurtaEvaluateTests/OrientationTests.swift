// Photographs that were taken with the camera turned: all eight orientations of Exif.
// SPDX-License-Identifier: Apache-2.0

import CurtaTestSupport
import Foundation
import Testing

@testable import CurtaEvaluate

@Suite struct OrientationTests {
  /// The letter F, 3 by 5 blocks of 8 by 8 pixels, stored as cameras store it when they are turned, with
  /// the orientations 1 to 8 (odd ones little-endian); by Pillow 11, which turns each upright.
  static let letters: [Data] = [
    Data(
      base64Encoded:
        "/9j/4AAQSkZJRgABAQAAAQABAAD/4QAiRXhpZgAASUkqAAgAAAABABIBAwABAAAAAQAAAAAAAAD/2wBDABQODxIP"
        + "DRQSEBIXFRQYHjIhHhwcHj0sLiQySUBMS0dARkVQWnNiUFVtVkVGZIhlbXd7gYKBTmCNl4x9lnN+gXz/wAALCAAo"
        + "ABgBAREA/8QAFgABAQEAAAAAAAAAAAAAAAAAAAcG/8QAFBABAAAAAAAAAAAAAAAAAAAAAP/aAAgBAQAAPwDKAKsJ"
        + "SKslKrCUqsP/2Q==")!,
    Data(
      base64Encoded:
        "/9j/4AAQSkZJRgABAQAAAQABAAD/4QAiRXhpZgAATU0AKgAAAAgAAQESAAMAAAABAAIAAAAAAAD/2wBDABQODxIP"
        + "DRQSEBIXFRQYHjIhHhwcHj0sLiQySUBMS0dARkVQWnNiUFVtVkVGZIhlbXd7gYKBTmCNl4x9lnN+gXz/wAALCAAo"
        + "ABgBAREA/8QAFgABAQEAAAAAAAAAAAAAAAAABwAG/8QAFBABAAAAAAAAAAAAAAAAAAAAAP/aAAgBAQAAPwDKJFZC"
        + "krClFZCkrIUv/9k=")!,
    Data(
      base64Encoded:
        "/9j/4AAQSkZJRgABAQAAAQABAAD/4QAiRXhpZgAASUkqAAgAAAABABIBAwABAAAAAwAAAAAAAAD/2wBDABQODxIP"
        + "DRQSEBIXFRQYHjIhHhwcHj0sLiQySUBMS0dARkVQWnNiUFVtVkVGZIhlbXd7gYKBTmCNl4x9lnN+gXz/wAALCAAo"
        + "ABgBAREA/8QAFgABAQEAAAAAAAAAAAAAAAAAAAcG/8QAFBABAAAAAAAAAAAAAAAAAAAAAP/aAAgBAQAAPwDViUqs"
        + "JSqyUirCUgP/2Q==")!,
    Data(
      base64Encoded:
        "/9j/4AAQSkZJRgABAQAAAQABAAD/4QAiRXhpZgAATU0AKgAAAAgAAQESAAMAAAABAAQAAAAAAAD/2wBDABQODxIP"
        + "DRQSEBIXFRQYHjIhHhwcHj0sLiQySUBMS0dARkVQWnNiUFVtVkVGZIhlbXd7gYKBTmCNl4x9lnN+gXz/wAALCAAo"
        + "ABgBAREA/8QAFgABAQEAAAAAAAAAAAAAAAAABwAG/8QAFBABAAAAAAAAAAAAAAAAAAAAAP/aAAgBAQAAPwDKFZCk"
        + "rIUorCkrIUpP/9k=")!,
    Data(
      base64Encoded:
        "/9j/4AAQSkZJRgABAQAAAQABAAD/4QAiRXhpZgAASUkqAAgAAAABABIBAwABAAAABQAAAAAAAAD/2wBDABQODxIP"
        + "DRQSEBIXFRQYHjIhHhwcHj0sLiQySUBMS0dARkVQWnNiUFVtVkVGZIhlbXd7gYKBTmCNl4x9lnN+gXz/wAALCAAY"
        + "ACgBAREA/8QAFgABAQEAAAAAAAAAAAAAAAAAAAcG/8QAFBABAAAAAAAAAAAAAAAAAAAAAP/aAAgBAQAAPwDKAAqy"
        + "UqsJSqwD/9k=")!,
    Data(
      base64Encoded:
        "/9j/4AAQSkZJRgABAQAAAQABAAD/4QAiRXhpZgAATU0AKgAAAAgAAQESAAMAAAABAAYAAAAAAAD/2wBDABQODxIP"
        + "DRQSEBIXFRQYHjIhHhwcHj0sLiQySUBMS0dARkVQWnNiUFVtVkVGZIhlbXd7gYKBTmCNl4x9lnN+gXz/wAALCAAY"
        + "ACgBAREA/8QAFgABAQEAAAAAAAAAAAAAAAAAAAcG/8QAFBABAAAAAAAAAAAAAAAAAAAAAP/aAAgBAQAAPwDKKsAl"
        + "KrJSqwlIA//Z")!,
    Data(
      base64Encoded:
        "/9j/4AAQSkZJRgABAQAAAQABAAD/4QAiRXhpZgAASUkqAAgAAAABABIBAwABAAAABwAAAAAAAAD/2wBDABQODxIP"
        + "DRQSEBIXFRQYHjIhHhwcHj0sLiQySUBMS0dARkVQWnNiUFVtVkVGZIhlbXd7gYKBTmCNl4x9lnN+gXz/wAALCAAY"
        + "ACgBAREA/8QAFgABAQEAAAAAAAAAAAAAAAAAAAcG/8QAFBABAAAAAAAAAAAAAAAAAAAAAP/aAAgBAQAAPwDVgJSq"
        + "wlKrJSAD/9k=")!,
    Data(
      base64Encoded:
        "/9j/4AAQSkZJRgABAQAAAQABAAD/4QAiRXhpZgAATU0AKgAAAAgAAQESAAMAAAABAAgAAAAAAAD/2wBDABQODxIP"
        + "DRQSEBIXFRQYHjIhHhwcHj0sLiQySUBMS0dARkVQWnNiUFVtVkVGZIhlbXd7gYKBTmCNl4x9lnN+gXz/wAALCAAY"
        + "ACgBAREA/8QAFgABAQEAAAAAAAAAAAAAAAAAAAcG/8QAFBABAAAAAAAAAAAAAAAAAAAAAP/aAAgBAQAAPwDKACrC"
        + "UqslKrAJS//Z")!,
  ]

  private func read(_ data: Data) throws -> PixelImage {
    try data.withUnsafeBytes { try PixelImage($0, name: "picture") }
  }

  /// The middles of the blocks.
  private func blocks(_ image: PixelImage) -> [String] {
    stride(from: 4, to: image.height, by: 8).map { y in
      String(
        stride(from: 4, to: image.width, by: 8).map { x in
          image.pixels[y * image.width + x] < 128 ? "X" : "."
        })
    }
  }

  @Test func photographsAreTurnedUpright() throws {
    for (place, data) in Self.letters.enumerated() {
      let image = try read(data)
      #expect(image.width == 24 && image.height == 40, "orientation \(place + 1)")
      #expect(
        blocks(image) == ["XXX", "X..", "XX.", "X..", "X.."], "orientation \(place + 1)")
    }
  }

  /// An orientation that cannot be read is none: the picture comes as it lies.
  @Test func damagedOrientationsAreNone() throws {
    let lying = ["XXXXX", "..X.X", "....X"]
    let data = Self.letters[7]
    let exif = try #require(data.range(of: Data("Exif".utf8))).lowerBound
    // Byte order, 42, place of the directory, entries, tag, type, count, value.
    for (at, bytes) in [
      (6, [0x4D, 0x49]), (6, [0x49, 0x49]), (8, [0, 43]), (10, [0, 0, 0, 9]), (10, [0, 0, 1, 0]),
      (10, [255, 255, 255, 255]), (14, [0, 0]), (16, [1, 0x13]), (18, [0, 4]), (20, [0, 0, 0, 2]),
      (24, [0, 0]), (24, [0, 9]), (24, [8, 0]),
    ] as [(Int, [UInt8])] {
      var changed = data
      changed.replaceSubrange(exif + at..<exif + at + bytes.count, with: bytes)
      #expect(blocks(try read(changed)) == lying, "\(bytes) at \(at)")
    }
  }

  @Test func noDamageToTheOrientationIsACrash() throws {
    var random = SeededRandom.announced("damaged orientations")
    let data = Self.letters[5]
    let exif = try #require(data.range(of: Data("Exif".utf8))).lowerBound
    for _ in 0..<3000 {
      var changed = data
      for _ in 0..<1 + random.below(3) {
        changed[exif + random.below(32)] = UInt8(random.below(256))
      }
      guard let image = try? read(changed) else { continue }
      #expect(image.pixels.count == 24 * 40)
    }
  }
}
