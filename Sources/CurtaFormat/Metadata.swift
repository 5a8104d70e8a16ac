// The metadata section: typed key-values that no op needs.
// SPDX-License-Identifier: Apache-2.0

/// One entry: a key and either an integer or a text.
public struct MetadataEntry: Sendable {
  public let key: ByteView
  /// The integer, or 0 for a text.
  public let integer: UInt64
  /// The text, or nil for an integer.
  public let text: ByteView?
}

/// `curta-file.md` section 6, checked when made.
public struct Metadata: Sendable {
  public let count: UInt32
  private let bytes: ByteView

  init(_ bytes: ByteView) throws(CurtaError) {
    self.bytes = bytes
    do throws(CurtaError) {
      count = try bytes.u32(0)
      guard count <= Limits.metadataEntries else { throw CurtaError(.overLimit, at: 0) }
      var at = 4
      var previous: ByteView? = nil
      for _ in 0..<count {
        let entry = try Metadata.read(bytes, &at)
        if let last = previous {
          guard Metadata.ascends(last, entry.key) else {
            throw CurtaError(.duplicate, at: UInt64(at))
          }
        }
        previous = entry.key
      }
      guard at == bytes.count else { throw CurtaError(.badMetadata, at: UInt64(at)) }
    } catch {
      let status = error.status == .truncated ? Status.badMetadata : error.status
      throw CurtaError(status, section: SectionKind.metadata, at: error.offset)
    }
  }

  /// Calls `body` for every entry in order.
  public func forEach(_ body: (MetadataEntry) -> Void) throws(CurtaError) {
    var at = 4
    for _ in 0..<count { body(try Metadata.read(bytes, &at)) }
  }

  private static func read(_ bytes: ByteView, _ at: inout Int) throws(CurtaError) -> MetadataEntry {
    let keyLength = try bytes.u16(at)
    guard keyLength >= 1, keyLength <= 255 else { throw CurtaError(.badMetadata, at: UInt64(at)) }
    let key = try bytes.view(UInt64(at) + 2, UInt64(keyLength))
    for i in 0..<key.count {
      switch try key.u8(i) {
      case 0x61...0x7A, 0x30...0x39, 0x2E, 0x5F, 0x2D: break
      default: throw CurtaError(.badMetadata, at: UInt64(at) + 2)
      }
    }
    at += 2 + Int(keyLength)
    let type = try bytes.u8(at)
    at += 1
    if type == 1 {
      let value = try bytes.u64(at)
      at += 8
      return MetadataEntry(key: key, integer: value, text: nil)
    }
    guard type == 2 else { throw CurtaError(.badMetadata, at: UInt64(at) - 1) }
    let length = try bytes.u32(at)
    guard length <= Limits.text else { throw CurtaError(.overLimit, at: UInt64(at)) }
    let text = try bytes.view(UInt64(at) + 4, UInt64(length))
    guard text.isText else { throw CurtaError(.badText, at: UInt64(at) + 4) }
    at += 4 + Int(length)
    return MetadataEntry(key: key, integer: 0, text: text)
  }

  private static func ascends(_ a: ByteView, _ b: ByteView) -> Bool {
    for i in 0..<min(a.count, b.count) {
      let x = a.base.load(fromByteOffset: i, as: UInt8.self)
      let y = b.base.load(fromByteOffset: i, as: UInt8.self)
      if x != y { return x < y }
    }
    return a.count < b.count
  }
}
