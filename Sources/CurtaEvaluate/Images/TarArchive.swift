// The files in a .tar: their names and where their bytes are.
// SPDX-License-Identifier: Apache-2.0

/// Reads the headers of ustar, GNU and pax archives.
enum TarArchive {
  struct File {
    var name: String
    /// Place in the archive.
    var bytes: Range<Int>
  }

  /// Regular files in the order of the archive. Throws `HostError.image` for what is no tar.
  static func files(_ archive: FileMapping) throws(HostError) -> [File] {
    let bytes = UnsafeRawBufferPointer(start: archive.bytes.base, count: archive.bytes.count)
    let damaged = HostError.image(
      path: archive.path, reason: "neither a folder nor a sound .tar (unpacked, not .tar.gz)")
    var files: [File] = []
    var longName: String?
    var at = 0
    while at + 512 <= bytes.count, bytes[at] != 0 {
      guard isSound(bytes, at), let size = octal(bytes, at + 124, 12),
        size <= bytes.count - at - 512
      else { throw damaged }
      let body = at + 512..<at + 512 + size
      switch bytes[at + 156] {
      case UInt8(ascii: "0"), 0:
        var name = text(bytes, at, 100)
        let prefix = text(bytes, at + 345, 155)
        if text(bytes, at + 257, 5) == "ustar", bytes[at + 262] == 0, !prefix.isEmpty {
          name = prefix + "/" + name
        }
        files.append(File(name: longName ?? name, bytes: body))
        longName = nil
      case UInt8(ascii: "L"): longName = text(bytes, body.lowerBound, size)
      case UInt8(ascii: "x"): longName = paxPath(bytes, body) ?? longName
      case UInt8(ascii: "g"): break
      default: longName = nil
      }
      at = body.upperBound + (512 - size % 512) % 512
    }
    guard at > 0 else { throw damaged }
    return files
  }

  /// Whether the header's sum of bytes is what it says.
  private static func isSound(_ bytes: UnsafeRawBufferPointer, _ at: Int) -> Bool {
    var sum = 0
    for i in 0..<512 { sum += (148..<156).contains(i) ? 32 : Int(bytes[at + i]) }
    return octal(bytes, at + 148, 8) == sum
  }

  private static func octal(_ bytes: UnsafeRawBufferPointer, _ at: Int, _ count: Int) -> Int? {
    let digits = bytes[at..<at + count].filter { $0 != 0 && $0 != 32 }
    return digits.isEmpty ? 0 : Int(String(decoding: digits, as: UTF8.self), radix: 8)
  }

  private static func text(_ bytes: UnsafeRawBufferPointer, _ at: Int, _ count: Int) -> String {
    String(decoding: bytes[at..<at + count].prefix { $0 != 0 }, as: UTF8.self)
  }

  /// The path out of lines such as "30 path=folder/name\n".
  private static func paxPath(_ bytes: UnsafeRawBufferPointer, _ range: Range<Int>) -> String? {
    for line in bytes[range].split(separator: 10) {
      let words = String(decoding: line, as: UTF8.self).split(separator: " ", maxSplits: 1)
      if words.count == 2, words[1].hasPrefix("path=") { return String(words[1].dropFirst(5)) }
    }
    return nil
  }
}
