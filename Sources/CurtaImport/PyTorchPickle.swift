// Reads the pickle of a PyTorch file: dictionaries of tensors. Nothing is called, so no code runs.
// SPDX-License-Identifier: Apache-2.0

/// A machine for the part of pickle (protocols 2 to 5) that torch.save needs for tensors. Any other
/// operation and any other name is refused.
struct PyTorchPickle {
  /// Limits of what we read.
  static let byteLimit = 1 << 24
  static let stackLimit = 1 << 20
  static let memoLimit = 1 << 22
  static let rankLimit = 8

  /// The members of each dictionary whose key is a text, in their order.
  private(set) var dictionaries: [[(key: String, value: PickleValue)]] = []
  private var tuples: [[PickleValue]] = []
  private var stack: [PickleValue] = []
  private var memo: [Int: PickleValue] = [:]

  private let bytes: UnsafeRawBufferPointer
  private let file: String
  /// Where the pickle begins in its file.
  private let base: Int
  private var at = 0

  /// Bytes that live as long as this.
  private init(_ bytes: UnsafeRawBufferPointer, file: String, base: Int) {
    self.bytes = bytes
    self.file = file
    self.base = base
  }

  /// The value of a pickle in `file` from byte `base` on, and the dictionaries it refers to.
  static func read(
    _ bytes: UnsafeRawBufferPointer, file: String, base: Int
  ) throws(ImportError) -> (value: PickleValue, dictionaries: [[(key: String, value: PickleValue)]])
  {
    var machine = PyTorchPickle(bytes, file: file, base: base)
    guard bytes.count <= byteLimit else {
      throw machine.bad(.headerTooLarge, "\(bytes.count) bytes, over the limit of \(byteLimit)")
    }
    let value = try machine.run()
    return (value, machine.dictionaries)
  }

  // MARK: - Bytes

  private func bad(_ reason: Malformation.Reason, _ detail: String) -> ImportError {
    .bad(reason, file: file, field: "data.pkl", offset: base + at, detail)
  }

  private mutating func take(_ count: Int) throws(ImportError) -> UnsafeRawBufferPointer {
    guard count >= 0, count <= bytes.count - at else {
      throw bad(.truncated, "needs \(count) bytes, the pickle has \(bytes.count - at) left")
    }
    defer { at += count }
    return UnsafeRawBufferPointer(rebasing: bytes[at..<at + count])
  }

  /// A little-endian number of so many bytes, at most 8.
  private mutating func number(_ count: Int) throws(ImportError) -> UInt64 {
    try take(count).reversed().reduce(0) { $0 << 8 | UInt64($1) }
  }

  /// A text or a run of bytes whose length has so many bytes.
  private mutating func counted(_ width: Int) throws(ImportError) -> UnsafeRawBufferPointer {
    guard let count = Int(exactly: try number(width)) else {
      throw bad(.sizeOverflow, "a length is beyond 63 bits")
    }
    return try take(count)
  }

  private func text(_ bytes: UnsafeRawBufferPointer) throws(ImportError) -> String {
    guard let text = String(validating: bytes, as: UTF8.self) else {
      throw bad(.wrongType, "a text is not UTF-8")
    }
    return text
  }

  private mutating func line() throws(ImportError) -> String {
    guard let end = bytes[at...].firstIndex(of: 10) else {
      throw bad(.truncated, "a name has no end")
    }
    let line = try take(end - at)
    at += 1
    return try text(line)
  }

  // MARK: - Stack

  private mutating func push(_ value: PickleValue) throws(ImportError) {
    guard stack.count < PyTorchPickle.stackLimit else {
      throw bad(.outOfRange, "more than \(PyTorchPickle.stackLimit) values on the stack")
    }
    stack.append(value)
  }

  private mutating func pop() throws(ImportError) -> PickleValue {
    guard let value = stack.popLast(), value != .mark else {
      throw bad(.outOfRange, "an operation finds no value on the stack")
    }
    return value
  }

  /// The values above the last mark, which goes.
  private mutating func popMark() throws(ImportError) -> [PickleValue] {
    guard let mark = stack.lastIndex(of: .mark) else {
      throw bad(.outOfRange, "an operation finds no mark on the stack")
    }
    let values = Array(stack[(mark + 1)...])
    stack.removeSubrange(mark...)
    return values
  }

  private mutating func pushTuple(_ values: [PickleValue]) throws(ImportError) {
    tuples.append(values)
    try push(.tuple(tuples.count - 1))
  }

  private mutating func pushTuple(of count: Int) throws(ImportError) {
    var values: [PickleValue] = []
    for _ in 0..<count { values.append(try pop()) }
    try pushTuple(values.reversed())
  }

  private mutating func pushDictionary() throws(ImportError) {
    dictionaries.append([])
    try push(.dictionary(dictionaries.count - 1))
  }

  /// Keys and values in turn into the dictionary on top of the stack.
  private mutating func setItems(_ items: [PickleValue]) throws(ImportError) {
    guard case .dictionary(let index) = stack.last, items.count % 2 == 0 else {
      throw bad(.wrongType, "members are set that are not those of a dictionary")
    }
    for i in stride(from: 0, to: items.count, by: 2) {
      // Other keys are those of an optimizer's state and the like.
      if case .text(let key) = items[i] { dictionaries[index].append((key, items[i + 1])) }
    }
  }

  private mutating func remember(_ index: Int) throws(ImportError) {
    guard let value = stack.last, value != .mark, index < PyTorchPickle.memoLimit else {
      throw bad(.outOfRange, "there is nothing to remember, or at \(index)")
    }
    memo[index] = value
  }

  private mutating func recall(_ index: Int) throws(ImportError) {
    guard let value = memo[index] else {
      throw bad(.outOfRange, "nothing is remembered at \(index)")
    }
    try push(value)
  }

  // MARK: - Operations

  private mutating func run() throws(ImportError) -> PickleValue {
    guard try number(1) == 0x80, (2...5).contains(try number(1)) else {
      at = 0
      throw bad(.wrongType, "this is no pickle of the protocols 2 to 5")
    }
    while true {
      let operation = UInt8(try number(1))
      if operation == UInt8(ascii: ".") { break }
      try run(operation)
    }
    let value = try pop()
    guard stack.isEmpty, at == bytes.count else {
      throw bad(.trailingBytes, "the pickle goes on behind its end")
    }
    return value
  }

  private mutating func run(_ operation: UInt8) throws(ImportError) {
    switch operation {
    case 0x95:  // FRAME: a hint for readers of streams
      guard try number(8) <= UInt64(bytes.count - at) else {
        throw bad(.truncated, "a frame reaches beyond the end")
      }
    case UInt8(ascii: "N"): try push(.none)
    case 0x88: try push(.bool(true))
    case 0x89: try push(.bool(false))
    case UInt8(ascii: "K"): try push(.integer(Int(try number(1))))
    case UInt8(ascii: "M"): try push(.integer(Int(try number(2))))
    case UInt8(ascii: "J"):
      try push(.integer(Int(Int32(truncatingIfNeeded: try number(4)))))
    case 0x8A: try push(.integer(try long()))
    case UInt8(ascii: "G"):
      _ = try take(8)
      try push(.number)
    case UInt8(ascii: "X"): try push(.text(try text(counted(4))))
    case 0x8C: try push(.text(try text(counted(1))))
    case 0x8D: try push(.text(try text(counted(8))))
    case UInt8(ascii: "C"): try pushBytes(counted(1))
    case UInt8(ascii: "B"): try pushBytes(counted(4))
    case UInt8(ascii: "c"):
      let module = try line()
      try pushGlobal(module, try line())
    case 0x93: try stackGlobal()
    default: try runStructure(operation)
    }
  }

  private mutating func runStructure(_ operation: UInt8) throws(ImportError) {
    switch operation {
    case UInt8(ascii: "("): try push(.mark)
    case UInt8(ascii: "0"): _ = try pop()
    case UInt8(ascii: ")"): try pushTuple([])
    case UInt8(ascii: "t"): try pushTuple(popMark())
    case 0x85...0x87: try pushTuple(of: Int(operation) - 0x84)
    case UInt8(ascii: "]"): try push(.list)
    case UInt8(ascii: "a"):
      _ = try pop()
      try expectList()
    case UInt8(ascii: "e"):
      _ = try popMark()
      try expectList()
    case UInt8(ascii: "}"): try pushDictionary()
    case UInt8(ascii: "s"):
      let value = try pop()
      try setItems([try pop(), value])
    case UInt8(ascii: "u"): try setItems(popMark())
    case UInt8(ascii: "q"): try remember(Int(try number(1)))
    case UInt8(ascii: "r"): try remember(Int(try number(4)))
    case 0x94: try remember(memo.count)
    case UInt8(ascii: "h"): try recall(Int(try number(1)))
    case UInt8(ascii: "j"): try recall(Int(try number(4)))
    case UInt8(ascii: "Q"): try push(.storage(try storage()))
    case UInt8(ascii: "R"): try reduce()
    case UInt8(ascii: "b"):
      // The attributes of an OrderedDict: `_metadata`, versions of modules.
      _ = try pop()
      guard case .dictionary = stack.last else {
        throw bad(.wrongType, "attributes are set that are not those of a dictionary")
      }
    default:
      throw .unsupported([
        "\(file): data.pkl: the operation 0x\(String(operation, radix: 16)) at byte "
          + "\(base + at - 1) (supported: dictionaries of tensors)"
      ])
    }
  }

  private func expectList() throws(ImportError) {
    guard stack.last == .list else { throw bad(.wrongType, "elements are added to no list") }
  }

  private mutating func pushBytes(_ bytes: UnsafeRawBufferPointer) throws(ImportError) {
    try push(.bytes)
  }

  /// An integer of up to 8 bytes, two's complement.
  private mutating func long() throws(ImportError) -> Int {
    let count = Int(try number(1))
    guard count <= 8 else { throw bad(.sizeOverflow, "an integer is beyond 64 bits") }
    if count == 0 { return 0 }
    let shift = 64 - 8 * count
    return Int(Int64(bitPattern: try number(count) << UInt64(shift)) >> Int64(shift))
  }

  // MARK: - Tensors

  private mutating func stackGlobal() throws(ImportError) {
    let name = try pop()
    guard case .text(let name) = name, case .text(let module) = try pop() else {
      throw bad(.wrongType, "a name is not a text")
    }
    try pushGlobal(module, name)
  }

  private mutating func pushGlobal(_ module: String, _ name: String) throws(ImportError) {
    guard let global = PickleGlobal(module: module, name: name) else {
      throw .unsupported([
        "\(file): data.pkl names \(printableName(module + "." + name, limit: 128)) "
          + "(supported: tensors in dictionaries; save the state_dict alone)"
      ])
    }
    try push(.global(global))
  }

  private mutating func popTuple(_ what: String) throws(ImportError) -> [PickleValue] {
    let value = try pop()
    guard case .tuple(let index) = value else {
      throw bad(.wrongType, "\(what) is \(value.summary), not a tuple")
    }
    return tuples[index]
  }

  /// ("storage", type, key, device, number of elements)
  private mutating func storage() throws(ImportError) -> PickleStorage {
    let id = try popTuple("a persistent id")
    guard id.count == 5, id[0] == .text("storage"), case .global(.storage(let element)) = id[1],
      case .text(let key) = id[2], case .text = id[3], case .integer(let count) = id[4], count >= 0
    else { throw bad(.wrongType, "a persistent id is not that of a storage") }
    return PickleStorage(element: element, key: key, count: count)
  }

  private mutating func reduce() throws(ImportError) {
    let arguments = try popTuple("what a call gets")
    let callee = try pop()
    switch callee {
    case .global(.orderedDictionary) where arguments.isEmpty: try pushDictionary()
    case .global(.rebuildParameter):
      guard arguments.count >= 2, case .tensor = arguments[0] else {
        throw bad(.wrongType, "a parameter is made of no tensor")
      }
      try push(arguments[0])
    case .global(.rebuildTensor): try push(.tensor(try tensor(arguments)))
    default:
      throw bad(
        .wrongType,
        "\(callee.summary) is called with \(arguments.count) arguments, which it has not"
      )
    }
  }

  /// (storage, offset, sizes, strides, requires_grad, hooks)
  private func tensor(_ arguments: [PickleValue]) throws(ImportError) -> PickleTensor {
    guard arguments.count >= 6, case .storage(let storage) = arguments[0],
      case .integer(let offset) = arguments[1], offset >= 0,
      let shape = sizes(arguments[2]), let strides = sizes(arguments[3]),
      shape.count == strides.count, shape.count <= PyTorchPickle.rankLimit
    else {
      throw bad(.wrongType, "a tensor is not made of a storage, an offset, sizes and strides")
    }
    return PickleTensor(storage: storage, offset: offset, shape: shape, strides: strides)
  }

  /// A tuple of numbers that are not negative.
  private func sizes(_ value: PickleValue) -> [Int]? {
    guard case .tuple(let index) = value else { return nil }
    var sizes: [Int] = []
    for element in tuples[index] {
      guard case .integer(let size) = element, size >= 0 else { return nil }
      sizes.append(size)
    }
    return sizes
  }
}
