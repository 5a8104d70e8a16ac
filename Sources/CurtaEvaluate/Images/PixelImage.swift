// A picture as rows of pixels, out of a file of any format that is known.
// SPDX-License-Identifier: Apache-2.0

import CImageFiles
import Foundation

/// A picture: `width` by `height` pixels of `channels` bytes, row by row from the top.
public struct PixelImage: Sendable, Equatable {
  public var width: Int
  public var height: Int
  /// 1 grey; 3 red, green, blue; 4 with a fourth that is not read.
  public var channels: Int
  public var pixels: [UInt8]

  public init(width: Int, height: Int, channels: Int, pixels: [UInt8]) {
    self.width = width
    self.height = height
    self.channels = channels
    self.pixels = pixels
  }

  /// The picture in grey, as broadcasters weigh colours.
  var grey: PixelImage {
    guard channels > 1 else { return self }
    let values = (0..<width * height).map { i -> UInt8 in
      let p = i * channels
      let (r, g, b) = (Int(pixels[p]), Int(pixels[p + 1]), Int(pixels[p + 2]))
      return UInt8((19595 * r + 38470 * g + 7471 * b + 0x8000) >> 16)
    }
    return PixelImage(width: width, height: height, channels: 1, pixels: values)
  }
}

/// What is believed of a picture's size before it is read.
enum PictureLimits {
  static let side = 16384
  static let area = 100_000_000
  /// Bytes of a file.
  static let file = 256 << 20
}

extension PixelImage {
  /// Endings of the files that are pictures, in lower case.
  static let endings: Set<String> = ["jpg", "jpeg", "png", "ppm", "pgm", "pnm"]

  /// Reads JPEG, PNG or binary PGM and PPM, told by its first bytes. Throws `HostError`.
  public init(path: String) throws(HostError) {
    let file = try FileMapping(path)
    let bytes = UnsafeRawBufferPointer(start: file.bytes.base, count: file.bytes.count)
    self = try withExtendedLifetime(file) { () throws(HostError) in
      try PixelImage(bytes, name: path)
    }
  }

  /// A picture in memory; `name` is what errors call it. Throws `HostError.image`.
  init(_ bytes: UnsafeRawBufferPointer, name: String) throws(HostError) {
    guard bytes.count <= PictureLimits.file else {
      throw .image(path: name, reason: "\(bytes.count) bytes; at most \(PictureLimits.file)")
    }
    if bytes.starts(with: [0xFF, 0xD8, 0xFF]) {
      try self.init(bytes, name: name, format: "JPEG", curta_read_jpeg)
    } else if bytes.starts(with: [0x89, 0x50, 0x4E, 0x47]) {
      try self.init(bytes, name: name, format: "PNG", curta_read_png)
    } else if bytes.starts(with: Array("P5".utf8)) || bytes.starts(with: Array("P6".utf8)) {
      try self.init(portable: bytes, name: name)
    } else {
      throw .image(
        path: name, reason: "it is neither JPEG nor PNG nor a binary PPM or PGM (P6, P5)")
    }
  }

  private typealias Reader = (
    UnsafePointer<UInt8>?, Int, UnsafeMutablePointer<curta_picture>?
  ) -> Int32

  private init(
    _ bytes: UnsafeRawBufferPointer, name: String, format: String, _ read: Reader
  ) throws(HostError) {
    var picture = curta_picture()
    picture.largest_side = UInt32(PictureLimits.side)
    picture.largest_area = UInt64(PictureLimits.area)
    let status = read(bytes.bindMemory(to: UInt8.self).baseAddress, bytes.count, &picture)
    defer { curta_picture_free(&picture) }
    let message = withUnsafeBytes(of: picture.message) { text in
      String(decoding: text.prefix { $0 != 0 }, as: UTF8.self)
    }
    let (width, height) = (Int(picture.width), Int(picture.height))
    switch Int(status) {
    case CURTA_PICTURE_OK: break
    case CURTA_PICTURE_TOO_LARGE: throw PixelImage.tooLarge(name, width, height)
    case CURTA_PICTURE_UNSUPPORTED:
      throw .image(path: name, reason: "a \(format) that is not read: \(message)")
    case CURTA_PICTURE_MEMORY:
      throw .image(path: name, reason: "there is no memory for \(width) x \(height) pixels")
    default: throw .image(path: name, reason: "a damaged \(format) (\(message))")
    }
    let channels = Int(picture.channels)
    self.init(
      width: width, height: height, channels: channels,
      pixels: Array(UnsafeBufferPointer(start: picture.pixels, count: width * height * channels)))
  }

  static func tooLarge(_ name: String, _ width: Int, _ height: Int) -> HostError {
    .image(
      path: name,
      reason: "\(width) x \(height) pixels; sides to \(PictureLimits.side) and at most"
        + " \(PictureLimits.area) pixels are read")
  }
}
