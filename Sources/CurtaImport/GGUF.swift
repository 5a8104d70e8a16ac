// Reads a GGUF file, strictly: header, metadata and tensor list are all checked before use.
// SPDX-License-Identifier: Apache-2.0

/// Limits of what we read.
enum GGUFLimit {
  /// Bytes of a metadata key, as the format has it.
  static let keyBytes = 65_535
  /// Bytes of a tensor name: what ggml has room for.
  static let nameBytes = 64
  /// Dimensions of a tensor.
  static let rank = 4
  /// Arrays in arrays.
  static let arrayDepth = 4
  /// Bytes that tensors may be aligned to; a power of two.
  static let alignment = 1 << 16
  /// Bytes of the shortest metadata entry: an empty key, its type and one byte.
  static let leastEntryBytes = 8 + 4 + 1
  /// Bytes of the shortest tensor record: an empty name, one dimension, type and offset.
  static let leastTensorBytes = 8 + 4 + 8 + 4 + 8
}

/// One tensor of a GGUF file.
struct GGUFTensor: Equatable, Sendable {
  let name: String
  let type: GGUFTensorType
  /// Sizes, the fastest running first: a matrix is [inputs, outputs].
  let dimensions: [Int]
  /// Byte offset in the file, and length in bytes.
  let offset: Int
  let count: Int
  /// Byte offset of its record in the header.
  let recordOffset: Int

  /// Number of elements.
  var elements: Int { count / type.blockBytes * type.blockElements }
}

/// A mapped and validated GGUF file, version 2 or 3, little-endian:
///
/// ```
/// header    u8[4] "GGUF", u32 version, u64 tensors, u64 entries
/// entries   {string key, u32 type, value}[entries]
/// tensors   {string name, u32 n, u64[n] dimensions, u32 type, u64 offset}[tensors]
/// padding   up to a multiple of general.alignment (32 where it is absent)
/// data      the tensors, each at a multiple of the alignment, `offset` from here
/// ```
///
/// A string is a u64 length and so many bytes; an array is u32 type, u64 count and the values.
struct GGUFFile: Sendable {
  let file: MappedFile
  let version: UInt32
  /// The entries by key, in no order.
  let metadata: [String: GGUFEntry]
  /// In the order of their data.
  let tensors: [GGUFTensor]

  static let magic: UInt32 = 0x4655_4747
  private static let notGGUF = "check that this is a GGUF file"

  var path: String { file.path }

  /// Whether the file at `path` begins as a GGUF file does.
  static func hasMagic(_ path: String) -> Bool {
    guard let file = try? MappedFile(path) else { return false }
    return (try? file.load(UInt32.self, at: 0, of: "magic")) == magic
  }

  /// Maps the file and validates everything but the values of its tensors.
  init(_ path: String) throws(ImportError) {
    let file = try MappedFile(path)
    self.file = file
    var cursor = GGUFCursor(file)
    version = try GGUFFile.version(&cursor)
    let tensorCount = try cursor.count(
      "tensor_count", least: GGUFLimit.leastTensorBytes, advice: GGUFFile.notGGUF)
    let entryCount = try cursor.count(
      "metadata_kv_count", least: GGUFLimit.leastEntryBytes, advice: GGUFFile.notGGUF)

    var metadata: [String: GGUFEntry] = [:]
    for index in 0..<entryCount {
      let start = cursor.position
      let key = try cursor.name("metadata key \(index)", limit: GGUFLimit.keyBytes)
      let type = try cursor.valueType(key)
      let entry = GGUFEntry(offset: cursor.position, value: try cursor.value(type, of: key))
      guard metadata.updateValue(entry, forKey: key) == nil else {
        throw .bad(.duplicateName, file: path, field: key, offset: start, "occurs twice")
      }
    }
    self.metadata = metadata

    let alignment = try GGUFFile.alignment(metadata["general.alignment"], path)
    var records: [GGUFRecord] = []
    var names: Set<String> = []
    for index in 0..<tensorCount {
      let record = try cursor.record(index)
      guard names.insert(record.name).inserted else {
        throw .bad(
          .duplicateName, file: path, field: record.name, offset: record.recordOffset,
          "occurs twice")
      }
      records.append(record)
    }
    tensors = try GGUFFile.place(
      records, headerEnd: cursor.position, alignment: alignment, file: file)
  }

  /// Checks magic and version.
  private static func version(_ cursor: inout GGUFCursor) throws(ImportError) -> UInt32 {
    let path = cursor.file.path
    let magic = try cursor.take(UInt32.self, "magic")
    guard magic == GGUFFile.magic else {
      throw .bad(
        .wrongType, file: path, field: "magic", offset: 0, "does not begin with \"GGUF\"",
        advice: notGGUF)
    }
    let version = try cursor.take(UInt32.self, "version")
    switch version {
    case 2, 3: return version
    case 1: throw .unsupported(["\(path): GGUF version 1 (supported: 2 and 3)"])
    case 0x0200_0000, 0x0300_0000:
      throw .unsupported(["\(path): big-endian GGUF (supported: little-endian)"])
    case 4...255: throw .unsupported(["\(path): GGUF version \(version) (supported: 2 and 3)"])
    default:
      throw .bad(
        .outOfRange, file: path, field: "version", offset: 4, "\(version) is no version",
        advice: notGGUF)
    }
  }

  private static func alignment(_ entry: GGUFEntry?, _ path: String) throws(ImportError) -> Int {
    guard let entry else { return 32 }
    guard let value = entry.value.integer else {
      throw .bad(
        .wrongType, file: path, field: "general.alignment", offset: entry.offset,
        "must be an integer, not \(entry.value.kind)")
    }
    guard value > 0, value <= GGUFLimit.alignment, value & (value - 1) == 0 else {
      throw .bad(
        .outOfRange, file: path, field: "general.alignment", offset: entry.offset,
        "\(value) is not a power of two up to \(GGUFLimit.alignment)")
    }
    return value
  }

  /// Finds the tensors in the file: aligned, inside, without overlap and without holes.
  private static func place(
    _ records: [GGUFRecord], headerEnd: Int, alignment: Int, file: MappedFile
  ) throws(ImportError) -> [GGUFTensor] {
    let path = file.path
    func padded(_ position: Int) -> Int { (position + alignment - 1) & ~(alignment - 1) }
    let start = padded(headerEnd)
    var tensors: [GGUFTensor] = []
    for record in records {
      let offset = Int(clamping: record.offset)
      guard record.offset % UInt64(alignment) == 0 else {
        throw .bad(
          .outOfRange, file: path, field: record.name, offset: record.offsetPosition,
          "offset \(record.offset) is not a multiple of the alignment \(alignment)")
      }
      guard start <= file.count, offset <= file.count - start,
        record.byteCount <= file.count - start - offset
      else {
        throw .bad(
          .truncated, file: path, field: record.name, offset: record.offsetPosition,
          "needs \(record.byteCount) bytes from \(record.offset) on, the data section has "
            + "\(max(0, file.count - start))")
      }
      tensors.append(
        GGUFTensor(
          name: record.name, type: record.type, dimensions: record.dimensions,
          offset: start + offset, count: record.byteCount, recordOffset: record.recordOffset))
    }
    tensors.sort { ($0.offset, $0.name) < ($1.offset, $1.name) }
    try checkCover(tensors, start: start, alignment: alignment, file: file)
    return tensors
  }

  /// Throws where tensors overlap, or where bytes beyond padding belong to none.
  private static func checkCover(
    _ tensors: [GGUFTensor], start: Int, alignment: Int, file: MappedFile
  ) throws(ImportError) {
    var end = min(start, file.count)
    for tensor in tensors {
      guard tensor.offset >= end else {
        throw .bad(
          .overlap, file: file.path, field: tensor.name, offset: tensor.offset,
          "overlaps the tensor before it, which ends at byte \(end)")
      }
      guard tensor.offset - end < alignment else {
        throw .bad(
          .hole, file: file.path, field: tensor.name, offset: end,
          "\(tensor.offset - end) bytes before it belong to no tensor")
      }
      end = tensor.offset + tensor.count
    }
    guard file.count - end < alignment else {
      throw .bad(
        .trailingBytes, file: file.path, offset: end,
        "\(file.count - end) bytes after the last tensor belong to none")
    }
  }
}
