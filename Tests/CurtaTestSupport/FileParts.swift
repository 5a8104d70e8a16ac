// A .curta file taken apart, to be changed and put together again with right offsets and hashes.
// SPDX-License-Identifier: Apache-2.0

/// Header fields and sections of a file. Nothing here shares code with the reader under test.
public struct FileParts: Sendable {
  public struct Section: Sendable {
    public var kind: UInt32
    public var index: UInt32
    public var codec: UInt32
    public var flags: UInt32
    /// Decoded size.
    public var size: UInt64
    public var stored: [UInt8]

    public init(
      kind: UInt32, index: UInt32 = 0, codec: UInt32 = 0, flags: UInt32 = 1, size: UInt64,
      stored: [UInt8]
    ) {
      self.kind = kind
      self.index = index
      self.codec = codec
      self.flags = flags
      self.size = size
      self.stored = stored
    }
  }

  public var minor: UInt16
  public var sections: [Section]

  public init(minor: UInt16, sections: [Section]) {
    self.minor = minor
    self.sections = sections
  }

  public static let headerSize = 64
  public static let entrySize = 48

  /// Parts of a well laid-out file; nil when the directory does not fit the bytes.
  public init?(_ bytes: [UInt8]) {
    guard bytes.count >= FileParts.headerSize else { return nil }
    minor = UInt16(truncatingIfNeeded: bytes.number(10, 2))
    let count = Int(bytes.number(12, 4))
    let directoryEnd = FileParts.headerSize + count * FileParts.entrySize
    guard directoryEnd <= bytes.count else { return nil }
    sections = []
    for i in 0..<count {
      let at = FileParts.headerSize + i * FileParts.entrySize
      let offset = bytes.number(at + 16, 8)
      let length = bytes.number(at + 24, 8)
      guard offset <= UInt64(bytes.count), length <= UInt64(bytes.count) - offset else {
        return nil
      }
      let start = Int(offset)
      sections.append(
        Section(
          kind: UInt32(bytes.number(at, 4)), index: UInt32(bytes.number(at + 4, 4)),
          codec: UInt32(bytes.number(at + 8, 4)), flags: UInt32(bytes.number(at + 12, 4)),
          size: bytes.number(at + 32, 8), stored: Array(bytes[start..<start + Int(length)])))
    }
  }

  /// The first section of `kind`, as an index.
  public func index(ofKind kind: UInt32) -> Int? { sections.firstIndex { $0.kind == kind } }

  /// The bytes of the file.
  public func assemble() -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: FileParts.headerSize)
    bytes.replaceSubrange(0..<8, with: [0x89, 0x43, 0x55, 0x52, 0x54, 0x41, 0x0D, 0x0A])
    bytes.put(8, 2, 1)
    bytes.put(10, 2, UInt64(minor))
    bytes.put(12, 4, UInt64(sections.count))
    bytes.put(32, 4, 1)
    bytes += [UInt8](repeating: 0, count: sections.count * FileParts.entrySize)
    for (i, section) in sections.enumerated() {
      bytes += [UInt8](repeating: 0, count: (64 - bytes.count % 64) % 64)
      let at = FileParts.headerSize + i * FileParts.entrySize
      bytes.put(at, 4, UInt64(section.kind))
      bytes.put(at + 4, 4, UInt64(section.index))
      bytes.put(at + 8, 4, UInt64(section.codec))
      bytes.put(at + 12, 4, UInt64(section.flags))
      bytes.put(at + 16, 8, UInt64(bytes.count))
      bytes.put(at + 24, 8, UInt64(section.stored.count))
      bytes.put(at + 32, 8, section.size)
      bytes += section.stored
    }
    FileParts.fixHashes(&bytes)
    return bytes
  }

  /// Makes `file_size` and every hash agree with the bytes, as far as the fields allow.
  public static func fixHashes(_ bytes: inout [UInt8]) {
    guard bytes.count >= headerSize else { return }
    bytes.put(16, 8, UInt64(bytes.count))
    let room = (bytes.count - headerSize) / entrySize
    let count = min(Int(bytes.number(12, 4)), room)
    for i in 0..<count {
      let at = headerSize + i * entrySize
      let offset = bytes.number(at + 16, 8)
      let length = bytes.number(at + 24, 8)
      guard offset <= UInt64(bytes.count), length <= UInt64(bytes.count) - offset else { continue }
      bytes.put(at + 40, 8, referenceXXH64(bytes[Int(offset)..<Int(offset) + Int(length)]))
    }
    bytes.put(24, 8, referenceXXH64(bytes[headerSize..<headerSize + count * entrySize]))
    bytes.put(56, 8, referenceXXH64(bytes[0..<56]))
  }
}

extension [UInt8] {
  /// The little-endian number of `width` bytes at `at`.
  public func number(_ at: Int, _ width: Int) -> UInt64 {
    var value: UInt64 = 0
    var i = width
    while i > 0 {
      i -= 1
      value = value &<< 8 | UInt64(self[at + i])
    }
    return value
  }

  /// Writes a little-endian number of `width` bytes at `at`.
  public mutating func put(_ at: Int, _ width: Int, _ value: UInt64) {
    var rest = value
    var i = 0
    while i < width {
      self[at + i] = UInt8(truncatingIfNeeded: rest)
      rest &>>= 8
      i += 1
    }
  }

  /// Appends a little-endian number of `width` bytes.
  public mutating func append(_ value: UInt64, width: Int) {
    let at = count
    self += [UInt8](repeating: 0, count: width)
    put(at, width, value)
  }
}

/// `bytes` as an LZ4 block of literals only.
public func lz4Literals(_ bytes: [UInt8]) -> [UInt8] {
  var out = [UInt8(min(bytes.count, 15) << 4)]
  if bytes.count >= 15 {
    var rest = bytes.count - 15
    while rest >= 255 {
      out.append(255)
      rest -= 255
    }
    out.append(UInt8(rest))
  }
  return out + bytes
}

/// `bytes` as a zstd frame of raw blocks.
public func zstdRaw(_ bytes: [UInt8]) -> [UInt8] {
  var out: [UInt8] = [0x28, 0xB5, 0x2F, 0xFD, 0xA0]
  out.append(UInt64(bytes.count), width: 4)
  let largest = 1 << 17
  var at = 0
  while at < bytes.count {
    let n = Swift.min(largest, bytes.count - at)
    out.append(UInt64(n << 3 | (at + n == bytes.count ? 1 : 0)), width: 3)
    out += bytes[at..<at + n]
    at += n
  }
  return out
}
