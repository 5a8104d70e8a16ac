// A session as bytes, to go on with later or elsewhere: Formats/curta-session.md.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat
import CurtaKernels

extension Session {
  /// How the session as it is now would be laid out.
  private func saved() throws(CurtaError) -> SavedSession {
    try SavedSession(state.pointee, past: past, hasLogits: state.pointee.outputsMade > 0)
  }

  /// Bytes that `save` would write now.
  public func savedSize() throws(CurtaError) -> Int { try saved().size }

  /// Writes the session to `bytes` and returns how many there are; O(positions in use).
  ///
  /// Any alignment. Throws `outputTooSmall` when `capacity` is below `savedSize()`; nothing has
  /// then been written.
  public func save(
    to bytes: UnsafeMutableRawPointer, capacity: Int
  ) throws(CurtaError) -> Int {
    let layout = try saved()
    guard capacity >= layout.size else { throw CurtaError(.outputTooSmall) }
    writeHeader(layout, to: bytes)
    writeTables(layout, to: bytes)
    var at = layout.caches
    for i in 0..<Int(state.pointee.program.stateCount) {
      let cache = state.pointee.states[i]
      for head in 0..<cache.heads {
        let count = past * cache.width
        let from = cache.codes + head * context * cache.width
        (bytes + at).copyMemory(from: from, byteCount: count)
        at += count
      }
      for head in 0..<cache.heads {
        let count = past * MemoryLayout<curta_scale>.stride
        (bytes + at).copyMemory(from: cache.scales + head * context, byteCount: count)
        at += count
      }
    }
    let hash = xxh64(ByteView(bytes, count: layout.hash))
    store(hash, bytes, layout.hash)
    return layout.size
  }

  private func writeHeader(_ layout: SavedSession, to bytes: UnsafeMutableRawPointer) {
    typealias Field = SavedSession.Field
    let carry = state.pointee.decoder?.carry ?? DecoderCarry()
    var flags: UInt32 = 0
    if layout.hasLogits { flags |= SavedSession.Flag.logits }
    if !carry.atStart { flags |= SavedSession.Flag.insideText }
    store(SavedSession.magic, bytes, Field.magic)
    store(SavedSession.version, bytes, Field.version)
    store(flags, bytes, Field.flags)
    store(UInt64(layout.size), bytes, Field.size)
    store(state.pointee.file.identity, bytes, Field.identity)
    store(UInt32(past), bytes, Field.past)
    store(state.pointee.program.vocabulary, bytes, Field.vocabulary)
    store(state.pointee.program.stateCount, bytes, Field.states)
    store(carry.packed, bytes, Field.carry)
    store(state.pointee.random, bytes, Field.random)
    store(UInt64(0), bytes, Field.reserved)
  }

  /// The shapes of the states, the tokens and the last row of logits.
  private func writeTables(_ layout: SavedSession, to bytes: UnsafeMutableRawPointer) {
    for i in 0..<Int(state.pointee.program.stateCount) {
      let at = SavedSession.headerSize + 8 * i
      store(UInt32(state.pointee.states[i].heads), bytes, at)
      store(UInt32(state.pointee.states[i].width), bytes, at + 4)
    }
    let recent = state.pointee.shared(state.pointee.scratch.recent, Int32.self)
    (bytes + layout.tokens).copyMemory(from: recent, byteCount: 4 * past)
    if layout.hasLogits, let row = logits(state.pointee.outputsMade - 1) {
      (bytes + layout.logits).copyMemory(from: row, byteCount: 4 * vocabulary)
    }
  }

  private func store<T: FixedWidthInteger & BitwiseCopyable>(
    _ value: T, _ bytes: UnsafeMutableRawPointer, _ at: Int
  ) {
    bytes.storeBytes(of: value.littleEndian, toByteOffset: at, as: T.self)
  }
}

extension Session {
  /// The tokens fed so far; valid until the next call.
  public var tokens: UnsafeBufferPointer<Int32> {
    let recent = state.pointee.shared(state.pointee.scratch.recent, Int32.self)
    return UnsafeBufferPointer(start: recent, count: past)
  }

  /// Hash that names the model.
  public var identity: UInt64 { state.pointee.file.identity }
}
