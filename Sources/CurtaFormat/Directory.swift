// Section kinds, codecs and one entry of the directory.
// SPDX-License-Identifier: Apache-2.0

/// What a section holds (`registry.tsv`, table `section`).
public enum SectionKind {
  public static let metadata: UInt32 = 1
  public static let tokenizer: UInt32 = 2
  public static let tensors: UInt32 = 3
  public static let program: UInt32 = 4
  public static let data: UInt32 = 5
}

/// How the bytes of a section are stored.
public enum Codec: UInt32, Sendable {
  case stored = 0
  case zstd = 1
  case lz4 = 2
}

/// One entry of the directory.
public struct Section: Sendable {
  public let kind: UInt32
  public let index: UInt32
  public let codec: Codec
  public let required: Bool
  /// Offset of the stored bytes in the file.
  public let offset: UInt64
  /// Bytes in the file.
  public let storedSize: UInt64
  /// Bytes after decoding.
  public let size: UInt64
  /// XXH64 of the stored bytes.
  public let hash: UInt64

  public static let entrySize: UInt64 = 48

  var isKnown: Bool { kind >= SectionKind.metadata && kind <= SectionKind.data }

  /// Reads the entry at `at` of `file` and checks its kind, codec and flags.
  init(_ file: ByteView, at: Int) throws(CurtaError) {
    let place = UInt64(at)
    kind = try file.u32(at)
    index = try file.u32(at + 4)
    guard let codec = Codec(rawValue: try file.u32(at + 8)) else {
      throw CurtaError(.badFrame, at: place + 8)
    }
    self.codec = codec
    let flags = try file.u32(at + 12)
    guard flags & ~1 == 0 else { throw CurtaError(.badPadding, at: place + 12) }
    required = flags == 1
    offset = try file.u64(at + 16)
    storedSize = try file.u64(at + 24)
    size = try file.u64(at + 32)
    hash = try file.u64(at + 40)
    if isKnown {
      guard required else { throw CurtaError(.badPadding, at: place + 12) }
    } else if required {
      throw CurtaError(.unknown, at: place)
    }
    switch kind {
    case SectionKind.metadata, SectionKind.tensors, SectionKind.program:
      guard codec == .stored else { throw CurtaError(.badFrame, at: place + 8) }
    default: break
    }
  }

  /// Checks the sizes in the entry at `at` of `file`, after its offset was found to be right.
  func checkSizes(_ file: ByteView, at: Int) throws(CurtaError) {
    let place = UInt64(at)
    guard storedSize > 0 else { throw CurtaError(.badSize, at: place + 24) }
    _ = try file.view(offset, storedSize)
    guard size > 0 else { throw CurtaError(.badSize, at: place + 32) }
    guard size <= Limits.sectionBytes else { throw CurtaError(.overLimit, at: place + 32) }
    if codec == .stored {
      guard size == storedSize else { throw CurtaError(.badSize, at: place + 32) }
    } else {
      guard size <= (try CheckedSize(storedSize).times(Limits.ratio)).value else {
        throw CurtaError(.overLimit, at: place + 32)
      }
    }
  }
}
