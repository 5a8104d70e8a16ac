// The values that a pickle of tensors is made of.
// SPDX-License-Identifier: Apache-2.0

/// What is on the stack of a pickle. Tuples, lists and dictionaries are numbers of those that the
/// machine keeps, so that one may hold another, or itself, without harm.
enum PickleValue: Equatable, Sendable {
  case none
  case bool(Bool)
  case integer(Int)
  case number
  case text(String)
  case bytes
  case mark
  case tuple(Int)
  case list
  case dictionary(Int)
  case global(PickleGlobal)
  case storage(PickleStorage)
  case tensor(PickleTensor)

  /// What kind of value this is, for messages.
  var summary: String {
    switch self {
    case .none: "None"
    case .bool: "a truth value"
    case .integer(let integer): "\(integer)"
    case .number: "a number"
    case .text(let text): "\"\(printableName(text, limit: 32))\""
    case .bytes: "bytes"
    case .mark: "a mark"
    case .tuple: "a tuple"
    case .list: "a list"
    case .dictionary: "a dictionary"
    case .global(let global): global.name
    case .storage: "a storage"
    case .tensor: "a tensor"
    }
  }
}

/// The few names that a pickle of tensors may use; none is ever called.
enum PickleGlobal: Equatable, Sendable {
  case orderedDictionary
  case rebuildTensor
  case rebuildParameter
  case storage(PickleElement)

  init?(module: String, name: String) {
    switch (module, name) {
    case ("collections", "OrderedDict"): self = .orderedDictionary
    case ("torch._utils", "_rebuild_tensor_v2"): self = .rebuildTensor
    case ("torch._utils", "_rebuild_parameter"): self = .rebuildParameter
    case ("torch", _):
      guard let element = PickleElement(rawValue: name) else { return nil }
      self = .storage(element)
    default: return nil
    }
  }

  var name: String {
    switch self {
    case .orderedDictionary: "collections.OrderedDict"
    case .rebuildTensor: "torch._utils._rebuild_tensor_v2"
    case .rebuildParameter: "torch._utils._rebuild_parameter"
    case .storage(let element): "torch." + element.rawValue
    }
  }
}

/// The storages of torch, by the type of their elements.
enum PickleElement: String, Sendable {
  case float32 = "FloatStorage"
  case float16 = "HalfStorage"
  case bfloat16 = "BFloat16Storage"
  case float64 = "DoubleStorage"
  case int64 = "LongStorage"
  case int32 = "IntStorage"
  case int16 = "ShortStorage"
  case int8 = "CharStorage"
  case uint8 = "ByteStorage"
  case bool = "BoolStorage"

  /// Bytes of an element.
  var width: Int {
    switch self {
    case .float64, .int64: 8
    case .float32, .int32: 4
    case .float16, .bfloat16, .int16: 2
    case .int8, .uint8, .bool: 1
    }
  }

  /// How the floats are stored; nil for a type that is not read as floats.
  var coding: FloatCoding? {
    switch self {
    case .float32: .float32
    case .float16: .float16
    case .bfloat16: .bfloat16
    default: nil
    }
  }
}

/// Bytes in the archive that tensors are views of.
struct PickleStorage: Equatable, Sendable {
  var element: PickleElement
  /// Name of the file in the folder `data`.
  var key: String
  var count: Int
}

/// A view of a storage; counts are of elements.
struct PickleTensor: Equatable, Sendable {
  var storage: PickleStorage
  var offset: Int
  var shape: [Int]
  var strides: [Int]

  /// Whether the elements follow each other, the last size running fastest.
  var isContiguous: Bool {
    if shape.contains(0) { return true }
    var step = 1
    for (size, stride) in zip(shape, strides).reversed() {
      if size != 1, stride != step { return false }
      let (next, overflow) = step.multipliedReportingOverflow(by: size)
      if overflow { return false }
      step = next
    }
    return true
  }
}
