// A tensor as the writer takes it: integers only, in the layout of the kernels' definition.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat

/// One tensor of a file; `Formats/curta-encodings.md` says what its integers stand for.
public struct TensorContents: Sendable, Equatable {
  /// 1 to 255 bytes of UTF-8, unique in a file.
  public var name: String
  /// N, the number of outputs.
  public var rows: Int
  /// K, the number of inputs.
  public var columns: Int
  public var payload: Payload

  public enum Payload: Sendable, Equatable {
    case grid(Grid)
    case wide(Wide)
    /// Constants [N][K].
    case words([UInt32])
    /// One of the above in the form that goes into the file (`packed(_:)`).
    case packed(PackedStreams)
  }

  /// m[n] · (s[n][g] · c[n][k] + o[n][g]) · 2^−exponent
  public struct Grid: Sendable, Equatable {
    /// 2…8.
    public var bits: Int
    /// Columns in a group, a multiple of 32; 0 is the whole row.
    public var group: Int
    public var exponent: Int
    public var codes: [Int8]  // [N][K]
    public var mantissas: [UInt16]  // [N]
    public var groupScales: [UInt8]?  // [N][G]
    public var groupOffsets: [Int16]?  // [N][G]
    public var mask: Mask?
    public var outliers: OutlierColumns?
    public var residual: SparseResidual?

    public init(
      bits: Int, group: Int, exponent: Int, codes: [Int8], mantissas: [UInt16],
      groupScales: [UInt8]? = nil, groupOffsets: [Int16]? = nil, mask: Mask? = nil,
      outliers: OutlierColumns? = nil, residual: SparseResidual? = nil
    ) {
      self.bits = bits
      self.group = group
      self.exponent = exponent
      self.codes = codes
      self.mantissas = mantissas
      self.groupScales = groupScales
      self.groupOffsets = groupOffsets
      self.mask = mask
      self.outliers = outliers
      self.residual = residual
    }

    /// Streams before those of modifiers.
    var baseStreams: Int { 2 + (groupScales == nil ? 0 : 1) + (groupOffsets == nil ? 0 : 1) }
  }

  /// m[n] · c[n][k] · 2^−exponent
  public struct Wide: Sendable, Equatable {
    public var exponent: Int
    public var codes: [Int16]  // [N][K]
    public var mantissas: [UInt16]  // [N]

    public init(exponent: Int, codes: [Int16], mantissas: [UInt16]) {
      self.exponent = exponent
      self.codes = codes
      self.mantissas = mantissas
    }
  }

  public init(name: String, rows: Int, columns: Int, payload: Payload) {
    self.name = name
    self.rows = rows
    self.columns = columns
    self.payload = payload
  }

  public var encoding: Encoding {
    switch payload {
    case .grid: .grid
    case .wide: .wide
    case .words: .words
    case .packed(let packed): packed.encoding
    }
  }

  /// Bits of a code: 2…8, 16 or 32.
  public var bits: Int {
    switch payload {
    case .grid(let grid): grid.bits
    case .wide: 16
    case .words: 32
    case .packed(let packed): packed.bits
    }
  }

  /// The number of data sections of the tensor.
  public var streamCount: Int {
    switch payload {
    case .grid(let grid):
      grid.baseStreams + (grid.mask == nil ? 0 : 1) + (grid.outliers == nil ? 0 : 2)
        + (grid.residual == nil ? 0 : 3)
    case .wide: 2
    case .words: 1
    case .packed(let packed): packed.sections.count
    }
  }

  /// Columns in a group; 0 is the whole row.
  var group: Int {
    switch payload {
    case .grid(let grid): grid.group
    case .wide, .words: 0
    case .packed(let packed): packed.group
    }
  }

  /// Bit 0: group scales, bit 1: group offsets.
  var flags: UInt8 {
    switch payload {
    case .grid(let grid): (1 << UInt8(grid.baseStreams - 2)) - 1
    case .wide, .words: 0
    case .packed(let packed): packed.flags
    }
  }

  /// Of grid and wide; 0 for words.
  var exponent: Int {
    switch payload {
    case .grid(let grid): grid.exponent
    case .wide(let wide): wide.exponent
    case .words: 0
    case .packed(let packed): packed.exponent
    }
  }

  /// The modifiers of the tensor in the order of their kinds.
  var modifiers: [Modifier] {
    switch payload {
    case .grid(let grid):
      [
        grid.mask?.modifier(rows: rows, columns: columns), grid.outliers?.modifier(rows: rows),
        grid.residual?.modifier(rows: rows),
      ].compactMap(\.self)
    case .wide, .words: []
    case .packed(let packed): packed.modifiers
    }
  }

  /// The decoded bytes of stream `i`: codes, row mantissas, group scales, group offsets, then those of
  /// the modifiers.
  public func stream(_ i: Int) -> [UInt8] {
    var bytes: [UInt8] = []
    if case .grid(let grid) = payload, i >= grid.baseStreams {
      return modifiers.flatMap(\.streams)[i - grid.baseStreams]
    }
    if case .grid(let grid) = payload, let mask = grid.mask {
      switch i {
      case 0: return mask.packed(grid.codes, rows: rows, columns: columns, bits: grid.bits)
      case 2: return mask.cells(grid.groupScales ?? [], rows: rows, columns: columns)
      case 3:
        let offsets = mask.cells(grid.groupOffsets ?? [], rows: rows, columns: columns)
        bytes.append(littleValues: offsets)
        return bytes
      default: break
      }
    }
    switch (payload, i) {
    case (.grid(let grid), 0):
      return Packing.pack(grid.codes, rows: rows, columns: columns, bits: grid.bits)
    case (.grid(let grid), 1): bytes.append(littleValues: grid.mantissas)
    case (.grid(let grid), 2): return grid.groupScales ?? []
    case (.grid(let grid), 3): bytes.append(littleValues: grid.groupOffsets ?? [])
    case (.wide(let wide), 0): bytes.append(littleValues: wide.codes)
    case (.wide(let wide), 1): bytes.append(littleValues: wide.mantissas)
    case (.words(let words), 0): bytes.append(littleValues: words)
    default: preconditionFailure("tensor \(name) has no stream \(i)")
    }
    return bytes
  }
}

// MARK: - Rules

extension TensorContents {
  private func require(_ condition: Bool, _ reason: @autoclosure () -> String) throws(WriteError) {
    guard condition else { throw .invalid(part: "tensor \(name)", reason: reason()) }
  }

  /// Checks every rule that a reader checks, so that a file that is written can be read.
  func validate() throws(WriteError) {
    try require(
      (1...Int(Limits.name)).contains(name.utf8.count) && !name.utf8.contains(0),
      "its name has \(name.utf8.count) bytes; 1 to \(Limits.name) without NUL are possible")
    try require((1...Int(Limits.rows)).contains(rows), "\(rows) rows; 1 to \(Limits.rows) fit")
    try require(
      (1...Int(Limits.columns)).contains(columns), "\(columns) columns; 1 to \(Limits.columns) fit")
    switch payload {
    case .grid(let grid): try validate(grid)
    case .wide(let wide):
      try require(wide.codes.count == rows * columns, "\(wide.codes.count) codes")
      try require(!wide.codes.contains(.min), "a code is -32768")
      try validate(wide.mantissas, exponent: wide.exponent)
    case .words(let words):
      try require(words.count == rows * columns, "\(words.count) words")
    case .packed: break  // checked when it was packed
    }
  }

  private func validate(_ mantissas: [UInt16], exponent: Int) throws(WriteError) {
    try require(mantissas.count == rows, "\(mantissas.count) row mantissas for \(rows) rows")
    try require(!mantissas.contains(0), "a row mantissa is 0")
    try require((-64...64).contains(exponent), "the exponent \(exponent) is not in -64…64")
  }

  private func validate(_ grid: Grid) throws(WriteError) {
    try require((2...8).contains(grid.bits), "\(grid.bits) bits; 2 to 8 are possible")
    try require(
      grid.group >= 0 && grid.group % 32 == 0, "groups of \(grid.group); multiples of 32 fit")
    _ = try field(grid.group, "group", of: "tensor \(name)")
    try require(grid.codes.count == rows * columns, "\(grid.codes.count) codes")
    let range = Packing.range(bits: grid.bits)
    let (low, high) = (Int8(range.lowerBound), Int8(range.upperBound))
    try require(
      grid.codes.allSatisfy { $0 >= low && $0 <= high }, "a code is not in \(low)…\(high)")
    try validate(grid.mantissas, exponent: grid.exponent)
    let groups = grid.group == 0 ? 1 : (columns + grid.group - 1) / grid.group
    if let scales = grid.groupScales {
      try require(scales.count == rows * groups, "\(scales.count) group scales")
    }
    if let offsets = grid.groupOffsets {
      try require(grid.groupScales != nil, "group offsets without group scales")
      try require(offsets.count == rows * groups, "\(offsets.count) group offsets")
      try require(!offsets.contains(.min), "a group offset is -32768")
    }
    if let fault = grid.mask.flatMap({ maskFault(grid, $0) }) ?? overlayFault(grid) {
      throw .invalid(part: "tensor \(name)", reason: fault)
    }
  }
}
