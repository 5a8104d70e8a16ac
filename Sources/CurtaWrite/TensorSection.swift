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
  var modifiers: [UInt8] = []
  var data = 0
  for tensor in tensors {
    try tensor.validate()
    guard seen.insert(tensor.name).inserted else {
      throw .invalid(part: "tensor \(tensor.name)", reason: "its name occurs twice")
    }
    let own = tensor.modifiers
    descriptors += try descriptor(
      tensor, nameOffset: names.count, data: data, modifier: modifiers.count / 16,
      modifierCount: own.count)
    names += Array(tensor.name.utf8)
    data += tensor.streamCount
    var stream = data - own.reduce(0) { $0 + $1.kind.streams }
    for modifier in own {
      let part = "tensor \(tensor.name)"
      modifiers.append(little: modifier.kind.rawValue)
      modifiers.append(little: UInt16(modifier.form))
      modifiers.append(little: UInt32(stream))
      modifiers.append(little: try field(modifier.first, "count of a modifier", of: part))
      modifiers.append(little: try field(modifier.second, "largest sum of an overlay", of: part))
      stream += modifier.kind.streams
    }
  }
  var bytes: [UInt8] = []
  bytes.append(little: UInt32(tensors.count))
  bytes.append(little: UInt32(modifiers.count / 16))
  bytes.append(little: UInt32(names.count))
  bytes.append(little: UInt32(0))
  return bytes + descriptors + modifiers + names
}

/// One descriptor, 64 bytes.
private func descriptor(
  _ tensor: TensorContents, nameOffset: Int, data: Int, modifier: Int, modifierCount: Int
) throws(WriteError) -> [UInt8] {
  var bytes: [UInt8] = []
  bytes.append(little: UInt32(nameOffset))
  bytes.append(little: UInt32(tensor.name.utf8.count))
  bytes.append(little: UInt32(tensor.rows))
  bytes.append(little: UInt32(tensor.columns))
  bytes.append(little: tensor.encoding.rawValue)
  bytes.append(UInt8(tensor.bits))
  bytes.append(tensor.flags)
  bytes.append(little: UInt32(tensor.group))
  bytes.append(little: Int32(tensor.exponent))
  bytes.append(little: UInt32(data))
  bytes.append(little: UInt32(tensor.streamCount))
  bytes.append(little: UInt32(modifier))
  bytes.append(little: UInt32(modifierCount))
  bytes.append(zeros: 20)
  return bytes
}
