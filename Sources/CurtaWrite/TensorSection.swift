// The tensors section: descriptors and names.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat

/// The bytes of the tensors section (`Formats/curta-encodings.md` section 1).
///
/// Data sections are numbered in the order of the tensors and of their streams. Throws
/// `WriteError.invalid` naming the tensor where one breaks a rule of the format.
public func tensorSection(_ tensors: [TensorContents]) throws(WriteError) -> [UInt8] {
  guard tensors.count <= Int(Limits.tensors) else {
    throw .invalid(
      part: "tensors", reason: "there are \(tensors.count); at most \(Limits.tensors) fit")
  }
  var names: [UInt8] = []
  var seen: Set<String> = []
  var descriptors: [UInt8] = []
  var data = 0
  for tensor in tensors {
    try tensor.validate()
    guard seen.insert(tensor.name).inserted else {
      throw .invalid(part: "tensor \(tensor.name)", reason: "its name occurs twice")
    }
    descriptors += try descriptor(tensor, nameOffset: names.count, data: data)
    names += Array(tensor.name.utf8)
    data += tensor.streamCount
  }
  var bytes: [UInt8] = []
  bytes.append(little: UInt32(tensors.count))
  bytes.append(little: UInt32(0))  // modifiers: none in version 1.0
  bytes.append(little: UInt32(names.count))
  bytes.append(little: UInt32(0))
  return bytes + descriptors + names
}

/// One descriptor, 64 bytes.
private func descriptor(
  _ tensor: TensorContents, nameOffset: Int, data: Int
) throws(WriteError) -> [UInt8] {
  // Bit 0: group scales, bit 1: group offsets. A grid has two streams besides.
  let flags: UInt8 = tensor.encoding == .grid ? (1 << UInt8(tensor.streamCount - 2)) - 1 : 0
  var bytes: [UInt8] = []
  bytes.append(little: UInt32(nameOffset))
  bytes.append(little: UInt32(tensor.name.utf8.count))
  bytes.append(little: UInt32(tensor.rows))
  bytes.append(little: UInt32(tensor.columns))
  bytes.append(little: tensor.encoding.rawValue)
  bytes.append(UInt8(tensor.bits))
  bytes.append(flags)
  bytes.append(little: UInt32(tensor.group))
  bytes.append(little: Int32(tensor.exponent))
  bytes.append(little: UInt32(data))
  bytes.append(little: UInt32(tensor.streamCount))
  bytes.append(little: UInt32(0))  // first modifier
  bytes.append(little: UInt32(0))  // modifiers
  bytes.append(zeros: 20)
  return bytes
}
