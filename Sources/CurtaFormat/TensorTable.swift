// The tensors section: what each tensor is and which data sections hold it.
// SPDX-License-Identifier: Apache-2.0

/// Base encodings (`registry.tsv`, table `encoding`).
public enum Encoding: UInt16, Sendable {
  case grid = 1
  case wide = 2
  case words = 3
}

/// One descriptor of `curta-encodings.md` section 1, checked.
public struct TensorDescriptor: Sendable {
  public let name: ByteView
  /// N, the number of outputs.
  public let rows: UInt32
  /// K, the number of inputs.
  public let columns: UInt32
  public let encoding: Encoding
  public let bits: UInt32
  public let hasGroupScales: Bool
  public let hasGroupOffsets: Bool
  /// Columns in a group; 0 is the whole row.
  public let group: UInt32
  public let exponent: Int32
  /// First of its data sections.
  public let data: UInt32
  public let dataCount: UInt32
  public internal(set) var mask: TensorMask?
  public internal(set) var outliers: TensorOverlay?
  public internal(set) var residual: TensorOverlay?

  /// G, the number of groups in a row.
  public var groups: UInt32 { group == 0 ? 1 : (columns + group - 1) / group }
  /// B, the number of blocks of 32 codes in a row.
  public var blocks: UInt32 { (columns + 31) / 32 }

  /// shift(W) of `curta-arithmetic.md` section 2.
  public var shift: UInt32 {
    var c: UInt64
    if encoding == .wide {
      c = 32767
    } else {
      c = bits == 8 ? 127 : 1 << (UInt64(bits) - 1)
      if hasGroupScales { c *= 255 }
      if hasGroupOffsets { c += 32767 }
    }
    let added = UInt64(outliers?.bound ?? 0) + UInt64(residual?.bound ?? 0)
    let bound = 127 * (UInt64(columns) * c + added) * 65535  // below 2^57
    let length = 64 - bound.leadingZeroBitCount
    return length > 30 ? UInt32(length - 30) : 0
  }

  /// Decoded bytes of stream `i`: codes, row mantissas, group scales, group offsets, then those of the
  /// modifiers.
  public func streamSize(_ i: UInt32) -> UInt64 {
    if i >= outlierStream { return overlaySize(i) }
    if let mask, i == baseStreams { return maskSize(mask) }
    let n = UInt64(rows)
    switch (encoding, i) {
    case (.grid, 0): return storedBlocks * 4 * UInt64(bits)
    case (.wide, 0): return n * UInt64(columns) * 2
    case (.words, 0): return n * UInt64(columns) * 4
    case (_, 1): return n * 2
    case (_, 2): return storedCells
    default: return storedCells * 2
    }
  }
}

/// All descriptors of a file, checked when made.
public struct TensorTable: Sendable {
  public let count: UInt32
  private let modifierCount: UInt32
  private let bytes: ByteView
  private let namesAt: UInt64

  static let headerSize: UInt64 = 16
  static let recordSize: UInt64 = 64
  static let modifierSize: UInt64 = 16

  init(_ bytes: ByteView, file: CurtaFile) throws(CurtaError) {
    self.bytes = bytes
    do throws(CurtaError) {
      count = try bytes.u32(0)
      modifierCount = try bytes.u32(4)
      let namesSize = try bytes.u32(8)
      guard try bytes.u32(12) == 0 else { throw CurtaError(.badPadding, at: 12) }
      guard count <= Limits.tensors else { throw CurtaError(.overLimit, at: 0) }
      namesAt =
        TensorTable.headerSize + UInt64(count) * TensorTable.recordSize
        + UInt64(modifierCount) * TensorTable.modifierSize
      guard namesAt + UInt64(namesSize) == UInt64(bytes.count) else {
        throw CurtaError(.badTensor, at: 8)
      }
      var nameEnd: UInt64 = 0
      var data: UInt64 = 0
      var modifier: UInt64 = 0
      for i in 0..<count {
        let at = TensorTable.headerSize + UInt64(i) * TensorTable.recordSize
        let tensor = try read(at, namesSize: namesSize)
        guard UInt64(try bytes.u32(Int(at))) == nameEnd else {
          throw CurtaError(.badTensor, at: at)
        }
        nameEnd += UInt64(tensor.name.count)
        guard UInt64(tensor.data) == data else { throw CurtaError(.badTensor, at: at + 28) }
        data += UInt64(tensor.dataCount)
        guard UInt64(try bytes.u32(Int(at) + 36)) == modifier else {
          throw CurtaError(.badTensor, at: at + 36)
        }
        modifier += UInt64(try bytes.u32(Int(at) + 40))
        for k in 0..<tensor.dataCount {
          guard tensor.data + k < file.dataCount else { throw CurtaError(.badTensor, at: at + 28) }
          guard try file.data(tensor.data + k).size == tensor.streamSize(k) else {
            throw CurtaError(.badSize, at: at)
          }
        }
      }
      guard nameEnd == UInt64(namesSize), modifier == UInt64(modifierCount) else {
        throw CurtaError(.badTensor, at: 8)
      }
      guard data == UInt64(file.dataCount) else { throw CurtaError(.badTensor, at: 0) }
    } catch {
      let status = error.status == .truncated ? Status.badTensor : error.status
      throw CurtaError(status, section: SectionKind.tensors, at: error.offset)
    }
  }

  public subscript(i: UInt32) -> TensorDescriptor {
    get throws(CurtaError) {
      guard i < count else { throw CurtaError(.badProgram, section: SectionKind.program) }
      return try read(
        TensorTable.headerSize + UInt64(i) * TensorTable.recordSize,
        namesSize: UInt32(truncatingIfNeeded: UInt64(bytes.count) - namesAt))
    }
  }

  private func read(_ at: UInt64, namesSize: UInt32) throws(CurtaError) -> TensorDescriptor {
    let i = Int(at)
    let nameOffset = try bytes.u32(i)
    let nameLength = try bytes.u32(i + 4)
    guard nameLength >= 1, nameLength <= Limits.name, nameOffset <= namesSize,
      nameLength <= namesSize - nameOffset
    else { throw CurtaError(.badTensor, at: at) }
    let name = try bytes.view(namesAt + UInt64(nameOffset), UInt64(nameLength))
    guard name.isText else { throw CurtaError(.badText, at: namesAt + UInt64(nameOffset)) }
    let rows = try bytes.u32(i + 8)
    let columns = try bytes.u32(i + 12)
    guard rows > 0, columns > 0 else { throw CurtaError(.badTensor, at: at + 8) }
    guard rows <= Limits.rows, columns <= Limits.columns else {
      throw CurtaError(.overLimit, at: at + 8)
    }
    let code = try bytes.u16(i + 16)
    guard let encoding = Encoding(rawValue: code) else {
      throw CurtaError(code == 4 || code == 5 ? .unsupported : .badTensor, at: at + 16)
    }
    let bits = UInt32(try bytes.u8(i + 18))
    let flags = try bytes.u8(i + 19)
    let group = try bytes.u32(i + 20)
    let exponent = try bytes.i32(i + 24)
    let dataCount = try bytes.u32(i + 32)
    switch encoding {
    case .grid:
      guard bits >= 2, bits <= 8, flags & ~3 == 0, flags != 2, group % 32 == 0,
        group <= Limits.columns
      else {
        throw CurtaError(.badTensor, at: at + 18)
      }
    case .wide:
      guard bits == 16, flags == 0, group == 0 else { throw CurtaError(.badTensor, at: at + 18) }
    case .words:
      guard bits == 32, flags == 0, group == 0, exponent == 0 else {
        throw CurtaError(.badTensor, at: at + 18)
      }
    }
    guard exponent >= -64, exponent <= 64 else { throw CurtaError(.badTensor, at: at + 24) }
    guard try bytes.view(at + 44, 20).isZero else { throw CurtaError(.badPadding, at: at + 44) }
    var tensor = TensorDescriptor(
      name: name, rows: rows, columns: columns, encoding: encoding, bits: bits,
      hasGroupScales: flags & 1 != 0, hasGroupOffsets: flags & 2 != 0, group: group,
      exponent: exponent, data: try bytes.u32(i + 28), dataCount: dataCount, mask: nil)
    try readModifiers(
      UInt64(bytes.u32(i + 36)), count: bytes.u32(i + 40), of: &tensor)
    guard dataCount == tensor.streams else { throw CurtaError(.badTensor, at: at + 32) }
    return tensor
  }

  /// The modifier records of a tensor, from record `first` on.
  private func readModifiers(
    _ first: UInt64, count modifiers: UInt32, of tensor: inout TensorDescriptor
  ) throws(CurtaError) {
    var last: UInt16 = 0
    for k in 0..<modifiers {
      let record = first + UInt64(k)
      guard record < UInt64(modifierCount) else { throw CurtaError(.badTensor, at: 4) }
      let at =
        TensorTable.headerSize + UInt64(count) * TensorTable.recordSize
        + record * TensorTable.modifierSize
      let number = try bytes.u16(Int(at))
      guard let kind = ModifierKind(rawValue: number) else {
        let isReserved = number == ModifierKind.inputTransform
        throw CurtaError(isReserved ? .unsupported : .badTensor, at: at)
      }
      guard tensor.encoding == .grid, number > last,
        UInt64(try bytes.u32(Int(at) + 4)) == UInt64(tensor.data) + UInt64(tensor.streams)
      else { throw CurtaError(.badTensor, at: at) }
      last = number
      let form = try bytes.u16(Int(at) + 2)
      let (first, second) = (try bytes.u32(Int(at) + 8), try bytes.u32(Int(at) + 12))
      guard kind != .mask else {
        guard let form = MaskForm(rawValue: form) else { throw CurtaError(.badTensor, at: at) }
        let mask = TensorMask(form: form, first: first, second: second)
        guard tensor.allows(mask) else { throw CurtaError(.badTensor, at: at + 8) }
        tensor.mask = mask
        continue
      }
      let overlay = TensorOverlay(step: UInt32(form), count: first, bound: second)
      guard tensor.allows(overlay, kind) else { throw CurtaError(.badTensor, at: at + 8) }
      if kind == .outlierColumns { tensor.outliers = overlay } else { tensor.residual = overlay }
    }
  }
}
