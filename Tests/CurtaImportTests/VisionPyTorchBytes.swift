// Builds PyTorch files byte by byte, sound and hostile.
// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A pickle, one operation after the other.
struct PickleBytes {
  var bytes: [UInt8]

  /// An empty pickle of that protocol.
  init(protocol version: UInt8 = 2) { bytes = [0x80, version] }

  mutating func raw(_ operations: [UInt8]) { bytes += operations }
  mutating func op(_ operation: Character) { bytes.append(operation.asciiValue ?? 0) }

  mutating func text(_ text: String) {
    op("X")
    number(text.utf8.count, 4)
    bytes += Array(text.utf8)
  }

  mutating func number(_ value: Int, _ width: Int) {
    for i in 0..<width { bytes.append(UInt8(truncatingIfNeeded: value >> (8 * i))) }
  }

  mutating func integer(_ value: Int) {
    raw([0x8A, 8])
    number(value, 8)
  }

  mutating func global(_ module: String, _ name: String) {
    op("c")
    bytes += Array("\(module)\n\(name)\n".utf8)
  }

  mutating func tuple(_ values: [Int]) {
    op("(")
    for value in values { integer(value) }
    op("t")
  }

  /// A tensor as torch.save writes it.
  mutating func tensor(
    key: String, count: Int, offset: Int = 0, shape: [Int], strides: [Int]? = nil,
    storage: String = "FloatStorage"
  ) {
    var steps = shape
    var step = 1
    for i in shape.indices.reversed() {
      steps[i] = step
      step = step.multipliedReportingOverflow(by: shape[i]).partialValue
    }
    global("torch._utils", "_rebuild_tensor_v2")
    op("(")
    op("(")
    text("storage")
    global("torch", storage)
    text(key)
    text("cpu")
    integer(count)
    op("t")
    op("Q")
    integer(offset)
    tuple(shape)
    tuple(strides ?? steps)
    raw([0x89])
    global("collections", "OrderedDict")
    op(")")
    op("R")
    op("t")
    op("R")
  }
}

/// A file of a ZIP archive; the header fields can be made wrong.
struct ZipBytes {
  var name: String
  var bytes: [UInt8]
  var method = 0
  var flags = 0
  var localName: String?

  init(_ name: String, _ bytes: [UInt8]) {
    self.name = name
    self.bytes = bytes
  }
}

/// A ZIP archive of stored files.
func zipBytes(_ files: [ZipBytes], comment: [UInt8] = []) -> Data {
  var out = PickleBytes()
  out.bytes = []
  var directory = out
  for file in files {
    let offset = out.bytes.count
    let name = Array((file.localName ?? file.name).utf8)
    out.number(0x0403_4B50, 4)
    for value in [20, file.flags, file.method, 0, 0] { out.number(value, 2) }
    for value in [0, file.bytes.count, file.bytes.count] { out.number(value, 4) }
    out.number(name.count, 2)
    out.number(0, 2)
    out.bytes += name + file.bytes
    directory.number(0x0201_4B50, 4)
    for value in [20, 20, file.flags, file.method, 0, 0] { directory.number(value, 2) }
    for value in [0, file.bytes.count, file.bytes.count] { directory.number(value, 4) }
    for value in [file.name.utf8.count, 0, 0, 0, 0] { directory.number(value, 2) }
    directory.number(0, 4)
    directory.number(offset, 4)
    directory.bytes += Array(file.name.utf8)
  }
  let start = out.bytes.count
  out.bytes += directory.bytes
  out.number(0x0605_4B50, 4)
  for value in [0, 0, files.count, files.count] { out.number(value, 2) }
  out.number(directory.bytes.count, 4)
  out.number(start, 4)
  out.number(comment.count, 2)
  return Data(out.bytes + comment)
}

/// A PyTorch file of that pickle, with one storage "0" of so many float32.
func pyTorchBytes(
  _ pickle: PickleBytes, values: [Float] = [1, 2, 3, 4, 5, 6], extra: [ZipBytes] = []
) -> Data {
  let data = values.flatMap { withUnsafeBytes(of: $0.bitPattern.littleEndian, Array.init) }
  return zipBytes(
    [ZipBytes("x/data.pkl", pickle.bytes), ZipBytes("x/data/0", data)] + extra)
}
