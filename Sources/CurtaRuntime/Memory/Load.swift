// Brings the tensors of a file to where the kernels read them, checking every value on the way.
// SPDX-License-Identifier: Apache-2.0

import CCurta
import CurtaFormat
import CurtaKernels

/// Decodes sections into the arena and checks what is in them.
struct Loader {
  let file: CurtaFile
  let base: UnsafeMutableRawPointer
  var staging: UnsafeMutableRawPointer
  let options: curta_options
  /// That share the work on one tensor.
  var threads: UInt32
  /// Where the next decoded bytes go, from the start of the arena; follows `Plan`.
  var next: ArenaLayout

  /// The decoded bytes of `section`: in the file when it is stored, else written to `target`.
  func decode(
    _ section: Section, to target: UnsafeMutableRawPointer
  ) throws(CurtaError) -> ByteView {
    let stored = try file.storedBytes(section)
    let size = Int(section.size)
    switch section.codec {
    case .stored:
      return stored
    case .lz4:
      guard decodeLZ4Block(stored, to: target, size: size) else {
        throw CurtaError(.badFrame, section: section.kind, at: section.offset)
      }
    case .zstd:
      try section.checkZstdFrame(stored)
      guard let zstd = options.zstd else { throw CurtaError(.codecMissing, section: section.kind) }
      guard zstd(options.zstd_context, stored.base, stored.count, target, size) == 0 else {
        throw CurtaError(.badFrame, section: section.kind, at: section.offset)
      }
    }
    return ByteView(target, count: size)
  }

  /// Decodes into the next free bytes of the arena.
  mutating func place(_ section: Section) throws(CurtaError) -> ByteView {
    guard section.codec != .stored else { return try decode(section, to: staging) }
    return try decode(section, to: base + Int(try next.take(section.size, 1)))
  }

  @inline(never)
  mutating func tensor(_ tensor: TensorDescriptor) throws(CurtaError) -> TensorEntry {
    var entry = TensorEntry(weight: curta_weight(), words: nil)
    var index: ByteView? = nil
    if let mask = tensor.mask {
      let bytes = try decode(file.data(tensor.data + tensor.baseStreams), to: staging)
      if mask.form == .blocks { try placeBlocks(tensor, mask, bytes, to: &entry.weight) }
      index = bytes
    }
    var codes: ByteView
    if tensor.needsUnpacking {
      let target = base + Int(try next.take(tensor.kernelCodeBytes, 1))
      let behind = Int(try TensorNeeds.stagedMask(tensor, file))
      let packed = try decode(file.data(tensor.data), to: staging + behind)
      codes = ByteView(target, count: Int(tensor.kernelCodeBytes))
      if let mask = tensor.mask, let index, mask.form != .blocks {
        try expand(tensor, mask, packed, index, to: target.assumingMemoryBound(to: UInt8.self))
      } else {
        unpack(tensor, packed, to: target.assumingMemoryBound(to: Int8.self))
      }
    } else {
      codes = try place(file.data(tensor.data))
    }
    if tensor.encoding == .words {
      entry.words = codes.base.assumingMemoryBound(to: UInt32.self)
      entry.weight.columns = tensor.columns
      return entry
    }
    try check(tensor, codes, entry.weight)
    let mantissas = try place(file.data(tensor.data + 1))
    entry.weight.codes = codes.base
    entry.weight.mantissas = mantissas.base.assumingMemoryBound(to: UInt16.self)
    for i in 0..<Int(tensor.rows) where entry.weight.mantissas[i] == 0 {
      throw bad(tensor.data + 1, 2 * i)
    }
    if tensor.hasGroupScales {
      let scales = try place(file.data(tensor.data + 2))
      entry.weight.group_scales = scales.base.assumingMemoryBound(to: UInt8.self)
    }
    if tensor.hasGroupOffsets {
      let offsets = try place(file.data(tensor.data + 3))
      entry.weight.group_offsets = offsets.base.assumingMemoryBound(to: Int16.self)
      for i in 0..<(offsets.count / 2) where entry.weight.group_offsets[i] == Int16.min {
        throw bad(tensor.data + 3, 2 * i)
      }
    }
    try placeOverlays(tensor, to: &entry.weight)
    switch (tensor.encoding, tensor.bits) {
    case (.wide, _): entry.weight.kind = UInt32(CURTA_WEIGHT_WIDE)
    case (_, ...4): entry.weight.kind = UInt32(CURTA_WEIGHT_NIBBLES)
    case (_, 6) where tensor.hasSixes: entry.weight.kind = UInt32(CURTA_WEIGHT_SIXES)
    case (_, ...6): entry.weight.kind = UInt32(CURTA_WEIGHT_SMALL)
    default: entry.weight.kind = UInt32(CURTA_WEIGHT_BYTES)
    }
    entry.weight.rows = tensor.rows
    entry.weight.columns = tensor.columns
    entry.weight.row_bytes = tensor.kernelRowBytes
    entry.weight.groups = tensor.groups
    entry.weight.group_blocks = tensor.group == 0 ? tensor.blocks : tensor.group / 32
    entry.weight.shift = tensor.shift
    entry.weight.exponent = tensor.exponent
    return entry
  }

  func bad(_ data: UInt32, _ at: Int) -> CurtaError {
    CurtaError(.badPayload, section: SectionKind.data, at: UInt64(at))
  }

  /// Codes in their range, and zero past the last column.
  private func check(
    _ tensor: TensorDescriptor, _ codes: ByteView, _ weight: curta_weight
  ) throws(CurtaError) {
    if tensor.encoding == .wide {
      let values = codes.base.assumingMemoryBound(to: Int16.self)
      for i in 0..<(codes.count / 2) where values[i] == Int16.min { throw bad(tensor.data, 2 * i) }
      return
    }
    if tensor.bits == 8, let at = codes.firstIndex(of: 0x80) { throw bad(tensor.data, at) }
    guard tensor.columns % 32 != 0 else { return }
    let blockBytes = Int(tensor.blockBytes)
    guard let starts = weight.mask_starts, let list = weight.mask_blocks else {
      let rowBytes = Int(tensor.kernelRowBytes)
      for row in 0..<Int(tensor.rows) {
        try checkLast(tensor, codes, row * rowBytes + rowBytes - blockBytes)
      }
      return
    }
    for strip in 0..<Int(tensor.strips) where starts[strip] < starts[strip + 1] {
      guard list[Int(starts[strip + 1]) - 1] == tensor.blocks - 1 else { continue }
      let height = Int(TensorMask.stripRows)
      let survivors = Int(starts[strip + 1] - starts[strip])
      for row in 0..<min(height, Int(tensor.rows) - strip * height) {
        let block = Int(starts[strip]) * height + row * survivors + survivors - 1
        try checkLast(tensor, codes, block * blockBytes)
      }
    }
  }

  /// The codes past the last column in the last block of a row, which begins at byte `at`.
  private func checkLast(
    _ tensor: TensorDescriptor, _ codes: ByteView, _ at: Int
  ) throws(CurtaError) {
    for i in Int(tensor.columns % 32)..<32 {
      if tensor.hasNibbles {
        let byte = codes.base.load(fromByteOffset: at + i % 16, as: UInt8.self)
        guard (i < 16 ? byte & 15 : byte >> 4) == 8 else { throw bad(tensor.data, at) }
      } else if tensor.hasSixes {
        guard codes.base.six(at, i) == 0 else { throw bad(tensor.data, at) }
      } else {
        let byte = codes.base.load(fromByteOffset: at + i, as: UInt8.self)
        guard byte == 0 else { throw bad(tensor.data, at + i) }
      }
    }
  }

  /// Expands packed codes of 2, 3, 5, 6 or 7 bits to nibbles or signed bytes.
  private func unpack(
    _ tensor: TensorDescriptor, _ packed: ByteView, to out: UnsafeMutablePointer<Int8>
  ) {
    let blocks = Unpacking(
      blocks: Int(tensor.storedBlocks), bits: UInt64(tensor.bits), toNibbles: tensor.hasNibbles,
      packed: packed.base, out: out)
    blocks.run(options, threads: threads)
  }
}

extension ByteView {
  /// Index of the first byte equal to `byte`.
  func firstIndex(of byte: UInt8) -> Int? {
    let pattern = UInt64(byte) &* 0x0101_0101_0101_0101
    var i = 0
    while i + 8 <= count {
      let x = base.loadUnaligned(fromByteOffset: i, as: UInt64.self) ^ pattern
      // Nonzero exactly when one of the eight bytes of x is zero.
      if (x &- 0x0101_0101_0101_0101) & ~x & 0x8080_8080_8080_8080 != 0 { break }
      i += 8
    }
    while i < count {
      if base.load(fromByteOffset: i, as: UInt8.self) == byte { return i }
      i += 1
    }
    return nil
  }
}
