// Binary PGM and PPM: a few numbers in text, then the pixels.
// SPDX-License-Identifier: Apache-2.0

extension PixelImage {
  /// Reads P5 (grey) and P6 (colours) of 8 or 16 bits. Throws `HostError.image`.
  init(portable bytes: UnsafeRawBufferPointer, name: String) throws(HostError) {
    let damaged = HostError.image(path: name, reason: "a damaged PPM or PGM")
    let channels = bytes[1] == UInt8(ascii: "6") ? 3 : 1
    var at = 2
    /// A number behind white space and comments.
    func number() throws(HostError) -> Int {
      while at < bytes.count, isSpace(bytes[at]) || bytes[at] == UInt8(ascii: "#") {
        if bytes[at] == UInt8(ascii: "#") {
          while at < bytes.count, bytes[at] != 10 { at += 1 }
        } else {
          at += 1
        }
      }
      var value = 0
      let start = at
      while at < bytes.count, (48...57).contains(bytes[at]) {
        value = value * 10 + Int(bytes[at] - 48)
        guard value < 1 << 24 else { throw damaged }
        at += 1
      }
      guard at > start else { throw damaged }
      return value
    }
    let (width, height, largest) = (try number(), try number(), try number())
    guard width <= PictureLimits.side, height <= PictureLimits.side,
      width * height <= PictureLimits.area
    else { throw PixelImage.tooLarge(name, width, height) }
    let size = largest < 256 ? 1 : 2
    let count = width * height * channels
    guard width > 0, height > 0, (1...65535).contains(largest), at < bytes.count,
      isSpace(bytes[at]), bytes.count - at - 1 >= count * size
    else { throw damaged }
    at += 1
    var pixels = [UInt8](bytes[at..<at + (size == 1 ? count : 0)])
    if size == 2 {
      pixels = (0..<count).map { i in
        let value = Int(bytes[at + 2 * i]) << 8 | Int(bytes[at + 2 * i + 1])
        return UInt8((min(value, largest) * 510 + largest) / (2 * largest))
      }
    } else if largest < 255 {
      for i in pixels.indices {
        pixels[i] = UInt8((min(Int(pixels[i]), largest) * 510 + largest) / (2 * largest))
      }
    }
    self.init(width: width, height: height, channels: channels, pixels: pixels)
  }
}

private func isSpace(_ byte: UInt8) -> Bool { byte == 32 || (9...13).contains(byte) }
