// The wire format of protocol buffers, as far as a tokenizer.model uses it.
// SPDX-License-Identifier: Apache-2.0

/// Goes through the fields of one message.
struct ProtobufReader {
  /// One field: its number, its value and where it begins.
  struct Field {
    var number: Int
    var value: Value
    var offset: Int
  }

  enum Value {
    case varint(UInt64)
    case fixed32(UInt32)
    case fixed64(UInt64)
    /// A range of the file.
    case bytes(Range<Int>)
  }

  struct Failure: Error {
    var offset: Int
    var detail: String
  }

  let file: [UInt8]
  private var position: Int
  private let end: Int

  init(_ file: [UInt8], _ range: Range<Int>? = nil) {
    self.file = file
    position = range?.lowerBound ?? 0
    end = range?.upperBound ?? file.count
  }

  /// The next field; nil at the end of the message.
  mutating func next() throws(Failure) -> Field? {
    guard position < end else { return nil }
    let start = position
    let tag = try varint()
    guard tag >> 3 >= 1, tag >> 3 < 1 << 29 else { throw fail(start, "a field without a number") }
    let value: Value =
      switch tag & 7 {
      case 0: .varint(try varint())
      case 1: .fixed64(try fixed(8))
      case 2: .bytes(try bytes())
      case 5: .fixed32(UInt32(try fixed(4)))
      default: throw fail(start, "wire type \(tag & 7)")
      }
    return Field(number: Int(tag >> 3), value: value, offset: start)
  }

  private func fail(_ offset: Int, _ detail: String) -> Failure {
    Failure(offset: offset, detail: detail)
  }

  private mutating func varint() throws(Failure) -> UInt64 {
    let start = position
    var value: UInt64 = 0
    for shift in stride(from: UInt64(0), to: 70, by: 7) {
      guard position < end else { throw fail(start, "a number does not end") }
      let byte = file[position]
      position += 1
      guard shift < 63 || byte < 2 else { break }
      value |= UInt64(byte & 0x7F) << shift
      if byte < 0x80 { return value }
    }
    throw fail(start, "a number of more than 64 bits")
  }

  private mutating func fixed(_ size: Int) throws(Failure) -> UInt64 {
    guard end - position >= size else { throw fail(position, "the message ends too early") }
    defer { position += size }
    return (0..<size).reduce(0) { $0 | UInt64(file[position + $1]) << UInt64(8 * $1) }
  }

  private mutating func bytes() throws(Failure) -> Range<Int> {
    let start = position
    let size = try varint()
    guard size <= UInt64(end - position) else { throw fail(start, "longer than its message") }
    defer { position += Int(size) }
    return position..<position + Int(size)
  }
}
