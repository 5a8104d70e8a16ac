// Tensors where they lie in their files, whatever the format: decoded when they are asked for.
// SPDX-License-Identifier: Apache-2.0

/// How the elements of a tensor are stored.
enum TensorCoding: Equatable, Sendable {
  case floats(FloatCoding)
  case blocks(GGUFTensorType)

  /// Elements and bytes of the smallest piece that can be decoded alone.
  var block: (elements: Int, bytes: Int) {
    switch self {
    case .floats(let coding): (1, coding.width)
    case .blocks(let type): (type.blockElements, type.blockBytes)
    }
  }
}

/// A tensor in a file; its place has been checked.
struct StoredTensor: Sendable {
  let file: MappedFile
  let name: String
  /// Sizes, the slowest running first.
  let shape: [Int]
  /// Byte offset in the file, and length in bytes.
  let offset: Int
  let count: Int
  /// nil: of a type that is not read as floats.
  let coding: TensorCoding?
  /// The type as the format names it.
  let typeName: String
  /// Where the header says all this, as far as that is known.
  let recordOffset: Int

  /// The values of `elements`, which begin and end with a block. Throws where one is not finite.
  func floats(_ elements: Range<Int>) throws(ImportError) -> [Float] {
    guard let coding else { throw unreadable }
    let block = coding.block
    let start = offset + elements.lowerBound / block.elements * block.bytes
    let length = elements.count / block.elements * block.bytes
    let values = try file.withBytes(at: start, count: length, of: name) { bytes in
      switch coding {
      case .floats(let coding): decodeFloats(bytes, coding)
      case .blocks(let type): decodeGGUF(bytes, type)
      }
    }
    file.release(at: start, count: length)
    guard let values else {
      throw .bad(
        .notFinite, file: file.path, field: name, offset: start,
        "holds an infinity or something that is not a number")
    }
    return values
  }

  /// Whether the other tensor is the same, byte for byte.
  func equals(_ other: StoredTensor) throws(ImportError) -> Bool {
    guard shape == other.shape, typeName == other.typeName, count == other.count else {
      return false
    }
    return try file.withBytes(at: offset, count: count, of: name) {
      bytes throws(ImportError) -> Bool in
      try other.file.withBytes(at: other.offset, count: other.count, of: other.name) {
        bytes.elementsEqual($0)
      }
    }
  }

  private var unreadable: ImportError {
    .bad(.unknownDataType, file: file.path, field: name, "cannot be read as floats")
  }
}

/// All tensors of a checkpoint.
struct TensorCatalog: Sendable {
  /// The file or folder, for messages.
  let place: String
  /// What says which tensors there must be: "config.json", "the metadata".
  let authority: String
  /// What a type is called: "dtype", "tensor type".
  let typeWord: String
  /// Names of the types that can be read.
  let readable: String
  /// Whether the format writes the fastest running size first; messages do as it does.
  let writesFastestFirst: Bool
  private let tensors: [String: StoredTensor]

  init(_ folder: SafetensorsFolder, place: String) {
    self.place = place
    authority = "config.json"
    typeWord = "dtype"
    readable = "F32, F16, BF16"
    writesFastestFirst = false
    tensors = folder.stored
  }

  init(_ file: GGUFFile) {
    place = file.path
    authority = "the metadata"
    typeWord = "tensor type"
    readable = GGUFTensorType.decodableNames
    writesFastestFirst = true
    let pairs = file.tensors.map { tensor in
      (
        tensor.name,
        StoredTensor(
          file: file.file, name: tensor.name, shape: tensor.dimensions.reversed(),
          offset: tensor.offset, count: tensor.count,
          coding: tensor.type.isDecodable ? .blocks(tensor.type) : nil,
          typeName: tensor.type.name, recordOffset: tensor.recordOffset)
      )
    }
    tensors = Dictionary(uniqueKeysWithValues: pairs)
  }

  /// Tensors of one file, whose floats are of known types.
  init(_ stored: [String: StoredTensor], place: String, authority: String) {
    self.place = place
    self.authority = authority
    typeWord = "dtype"
    readable = "F32, F16, BF16"
    writesFastestFirst = false
    tensors = stored
  }

  subscript(_ name: String) -> StoredTensor? { tensors[name] }
  func has(_ name: String) -> Bool { tensors[name] != nil }
  var count: Int { tensors.count }
  /// Names of all tensors, sorted.
  var names: [String] { tensors.keys.sorted() }
  /// All tensors, sorted by name.
  var all: [StoredTensor] { tensors.values.sorted { $0.name < $1.name } }

  /// The sizes as the format writes them.
  func written(_ shape: [Int]) -> [Int] { writesFastestFirst ? shape.reversed() : shape }

  /// What cannot be decoded: one line for each type.
  func undecodable() -> [String] {
    var names: [String: [String]] = [:]
    for tensor in all where tensor.coding == nil {
      names[tensor.typeName, default: []] += [tensor.name]
    }
    return names.sorted { $0.key < $1.key }.map { type, names in
      printableName(names[0], limit: 64)
        + (names.count > 1 ? " and \(names.count - 1) more" : "")
        + ": \(typeWord) \(type) (supported: \(readable))"
    }
  }
}

/// A name from a file for a message: without control characters, at most `limit` characters.
func printableName(_ text: String, limit: Int) -> String {
  let clean = String(
    String.UnicodeScalarView(
      text.unicodeScalars.prefix(limit).map {
        $0.properties.generalCategory == .control ? "\u{FFFD}" : $0
      }))
  return text.unicodeScalars.count > limit ? clean + "…" : clean
}
