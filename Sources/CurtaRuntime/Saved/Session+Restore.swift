// Goes on with a saved session: every byte is checked, and only then is anything changed.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat
import CurtaKernels

extension Session {
  /// Makes this session what the saved one was; O(positions in use).
  ///
  /// The context, threads, chunk and kernels of the two may differ. Any alignment; the bytes are
  /// copied. On error nothing has changed. Throws `truncated`, `badMagic`, `badVersion`,
  /// `badLayout`, `badChecksum`, `wrongModel`, `badPadding`, `badPlan`, `contextFull`, `badSize` or
  /// `badPayload`, with the byte where it was seen.
  public func restore(from bytes: ByteView) throws(CurtaError) {
    let header = try SavedHeader(bytes)
    guard header.identity == state.pointee.file.identity else {
      throw CurtaError(.wrongModel, at: UInt64(SavedSession.Field.identity))
    }
    try header.checkFields()
    let layout = try self.layout(header)
    try checkShapes(bytes)
    let carry = try checkDecoder(header)
    try checkTokens(layout, bytes)
    try checkCaches(layout, bytes)

    state.pointee.random = header.random
    state.pointee.decoder = state.pointee.tokenizer.map { TokenDecoder($0, carry: carry) }
    state.pointee.past = layout.past
    copy(layout, bytes)
  }

  /// The states are those of this model.
  private func checkShapes(_ bytes: ByteView) throws(CurtaError) {
    for i in 0..<Int(state.pointee.program.stateCount) {
      let at = SavedSession.headerSize + 8 * i
      guard try bytes.u32(at) == UInt32(state.pointee.states[i].heads),
        try bytes.u32(at + 4) == UInt32(state.pointee.states[i].width)
      else { throw CurtaError(.badPlan, at: UInt64(at)) }
    }
  }

  /// The places of the parts, which fill the bytes exactly.
  private func layout(_ header: SavedHeader) throws(CurtaError) -> SavedSession {
    typealias Field = SavedSession.Field
    guard header.vocabulary == state.pointee.program.vocabulary else {
      throw CurtaError(.badPlan, at: UInt64(Field.vocabulary))
    }
    guard header.states == state.pointee.program.stateCount else {
      throw CurtaError(.badPlan, at: UInt64(Field.states))
    }
    guard header.past <= state.pointee.sizes.context else {
      throw CurtaError(.contextFull, at: UInt64(Field.past))
    }
    let hasLogits = header.flags & SavedSession.Flag.logits != 0
    let layout = try SavedSession(
      state.pointee, past: Int(header.past), hasLogits: hasLogits)
    guard header.size == UInt64(layout.size) else {
      throw CurtaError(.badSize, at: UInt64(Field.size))
    }
    return layout
  }

  private func checkDecoder(_ header: SavedHeader) throws(CurtaError) -> DecoderCarry {
    let carry = DecoderCarry(
      packed: header.carry, atStart: header.flags & SavedSession.Flag.insideText == 0)
    guard let carry, state.pointee.tokenizer != nil || carry == DecoderCarry() else {
      throw CurtaError(.badPayload, at: UInt64(SavedSession.Field.carry))
    }
    return carry
  }

  private func checkTokens(_ layout: SavedSession, _ bytes: ByteView) throws(CurtaError) {
    for i in 0..<layout.past {
      let at = layout.tokens + 4 * i
      guard try bytes.u32(at) < state.pointee.program.vocabulary else {
        throw CurtaError(.badPayload, at: UInt64(at))
      }
    }
    guard layout.hasLogits else { return }
    for i in 0..<vocabulary {
      let at = layout.logits + 4 * i
      guard try bytes.i32(at) != Int32.min else { throw CurtaError(.badPayload, at: UInt64(at)) }
    }
  }

  /// Codes are not −128, and scales are such as the arithmetic makes.
  private func checkCaches(_ layout: SavedSession, _ bytes: ByteView) throws(CurtaError) {
    var at = layout.caches
    for i in 0..<Int(state.pointee.program.stateCount) {
      let rows = state.pointee.states[i].heads * layout.past
      let count = rows * state.pointee.states[i].width
      let codes = try bytes.view(UInt64(at), UInt64(count))
      if let bad = codes.firstIndex(of: 0x80) {
        throw CurtaError(.badPayload, at: UInt64(at + bad))
      }
      at += count
      for _ in 0..<rows {
        let mantissa = try bytes.u32(at)
        let exponent = try bytes.i32(at + 4)
        guard mantissa >= 1 << 15, mantissa < 1 << 16,
          exponent >= -SavedSession.largestExponent, exponent <= SavedSession.largestExponent
        else { throw CurtaError(.badPayload, at: UInt64(at)) }
        at += MemoryLayout<curta_scale>.stride
      }
    }
  }

  /// Copies what has been checked.
  private func copy(_ layout: SavedSession, _ bytes: ByteView) {
    let recent = state.pointee.shared(state.pointee.scratch.recent, Int32.self)
    UnsafeMutableRawPointer(recent)
      .copyMemory(from: bytes.base + layout.tokens, byteCount: 4 * layout.past)
    state.pointee.outputsMade = layout.hasLogits ? 1 : 0
    if layout.hasLogits {
      let output = state.pointee.buffers[Int(state.pointee.program.output)].values
      UnsafeMutableRawPointer(output)
        .copyMemory(from: bytes.base + layout.logits, byteCount: 4 * vocabulary)
    }
    var at = layout.caches
    for i in 0..<Int(state.pointee.program.stateCount) {
      let cache = state.pointee.states[i]
      for head in 0..<cache.heads {
        let count = layout.past * cache.width
        UnsafeMutableRawPointer(cache.codes + head * context * cache.width)
          .copyMemory(from: bytes.base + at, byteCount: count)
        at += count
      }
      for head in 0..<cache.heads {
        let count = layout.past * MemoryLayout<curta_scale>.stride
        UnsafeMutableRawPointer(cache.scales + head * context)
          .copyMemory(from: bytes.base + at, byteCount: count)
        at += count
      }
    }
  }
}

/// The header of a saved session whose hash is right.
private struct SavedHeader {
  let flags: UInt32
  let size: UInt64
  let identity: UInt64
  let past: UInt32
  let vocabulary: UInt32
  let states: UInt32
  let carry: UInt32
  let random: UInt64
  let reserved: UInt64

  /// Checks what every saved session has in common: magic, version, size and hash.
  init(_ bytes: ByteView) throws(CurtaError) {
    typealias Field = SavedSession.Field
    let least = SavedSession.headerSize + SavedSession.hashSize
    guard bytes.count >= least else { throw CurtaError(.truncated, at: UInt64(bytes.count)) }
    guard try bytes.u64(Field.magic) == SavedSession.magic else { throw CurtaError(.badMagic) }
    guard try bytes.u32(Field.version) == SavedSession.version else {
      throw CurtaError(.badVersion, at: UInt64(Field.version))
    }
    size = try bytes.u64(Field.size)
    guard UInt64(bytes.count) >= size else {
      throw CurtaError(.truncated, at: UInt64(bytes.count))
    }
    guard UInt64(bytes.count) == size else { throw CurtaError(.badLayout, at: size) }
    let end = bytes.count - SavedSession.hashSize
    guard try xxh64(bytes.view(0, UInt64(end))) == bytes.u64(end) else {
      throw CurtaError(.badChecksum, at: UInt64(end))
    }
    flags = try bytes.u32(Field.flags)
    identity = try bytes.u64(Field.identity)
    past = try bytes.u32(Field.past)
    vocabulary = try bytes.u32(Field.vocabulary)
    states = try bytes.u32(Field.states)
    carry = try bytes.u32(Field.carry)
    random = try bytes.u64(Field.random)
    reserved = try bytes.u64(Field.reserved)
  }

  /// The rules of the fields that need no model.
  func checkFields() throws(CurtaError) {
    typealias Field = SavedSession.Field
    guard flags & ~SavedSession.Flag.all == 0 else {
      throw CurtaError(.badPadding, at: UInt64(Field.flags))
    }
    guard reserved == 0 else { throw CurtaError(.badPadding, at: UInt64(Field.reserved)) }
    guard past > 0 || flags & SavedSession.Flag.logits == 0 else {
      throw CurtaError(.badPayload, at: UInt64(Field.flags))
    }
    guard random != 0 else { throw CurtaError(.badPayload, at: UInt64(Field.random)) }
  }
}
