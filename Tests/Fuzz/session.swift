// Fuzz target: saved sessions, restored into a session that then goes on. Hashes are made right.
// SPDX-License-Identifier: Apache-2.0

import CCurta
import Foundation

private let vector = ValidVector.named("window").bytes

/// The bytes of a session after `tokens`.
private func saved(_ session: OpaquePointer) -> [UInt8] {
  var bytes = [UInt8](repeating: 0, count: curta_session_save_size(session))
  var size = 0
  guard curta_session_save(session, &bytes, bytes.count, &size) == 0, size == bytes.count else {
    fatalError("save")
  }
  return bytes
}

private func step(_ session: OpaquePointer, _ token: Int32) {
  var token = token
  guard curta_step(session, &token, 1, 1) == 0 else { fatalError("step") }
}

/// A session that stays, and what it is before each input.
private struct Victim {
  let session: OpaquePointer
  let info: curta_plan_info
  let before: [UInt8]

  init(kernels: UInt32, fill: UInt8) {
    let file = UnsafeMutableRawPointer.allocate(byteCount: vector.count, alignment: 64)
    memcpy(file, vector, vector.count)
    var options = smallOptions(chunk: 2, kernels: kernels)
    var info = curta_plan_info()
    info.struct_size = UInt32(MemoryLayout<curta_plan_info>.size)
    guard curta_plan(file, vector.count, &options, &info) == 0 else { fatalError("plan") }
    let arena = UnsafeMutableRawPointer.allocate(
      byteCount: Int(info.arena_bytes), alignment: 64)
    memset(arena, Int32(fill), Int(info.arena_bytes))
    var made: OpaquePointer?
    guard
      curta_session_init(file, vector.count, &options, arena, Int(info.arena_bytes), &made) == 0
    else { fatalError("init") }
    for token: Int32 in [3, 1, 2] { step(made!, token) }
    session = made!
    self.info = info
    before = saved(session)
  }
}

/// On scalar kernels, and on the fastest.
nonisolated(unsafe) private let victims = [
  Victim(kernels: 1, fill: 0xA5), Victim(kernels: 0, fill: 0x5A),
]

@c(LLVMFuzzerTestOneInput)
public func fuzzSession(_ data: UnsafePointer<UInt8>?, _ size: Int) -> Int32 {
  let bytes = [UInt8](UnsafeBufferPointer(start: data, count: size))
  var rows: [[Int32]] = []
  for victim in victims {
    let session = victim.session
    // In memory of its own, so that nothing behind it is read unseen.
    let status = withAligned(bytes) { curta_session_restore(session, $0, bytes.count) }
    guard status == 0 else {
      guard saved(session) == victim.before else { fatalError("changed by a refused session") }
      continue
    }
    // What was restored is what would be saved.
    guard saved(session) == bytes else { fatalError("not what was restored") }
    if curta_past(session) < Int(victim.info.context) { step(session, 5) }
    if let row = curta_logits(session, 0) {
      rows.append(Array(UnsafeBufferPointer(start: row, count: Int(victim.info.vocabulary))))
      var sampling = curta_sampling()
      sampling.struct_size = UInt32(MemoryLayout<curta_sampling>.size)
      sampling.temperature = 1 << 16
      sampling.repetition_penalty = 20000
      sampling.penalty_window = 64
      var token: Int32 = -1
      guard curta_sample(session, &sampling, &token) == 0, token >= 0,
        token < Int32(victim.info.vocabulary)
      else { fatalError("sample") }
    }
    guard curta_session_restore(session, victim.before, victim.before.count) == 0 else {
      fatalError("restore")
    }
  }
  guard rows.count != 2 || rows[0] == rows[1] else { fatalError("kernels disagree") }
  return 0
}

/// Starts from a session that was saved; fields and bytes change, size and hash are made right.
@c(LLVMFuzzerCustomMutator)
public func mutateSession(
  _ data: UnsafeMutablePointer<UInt8>?, _ size: Int, _ most: Int, _ seed: UInt32
) -> Int {
  guard let data else { return 0 }
  var random = SeededRandom(UInt64(seed))
  var bytes = [UInt8](UnsafeBufferPointer(start: data, count: size))
  if size < 72 || random.chance(40) {
    let victim = victims[1]
    _ = curta_rewind(victim.session, 0)
    for _ in 0..<random.below(min(8, Int(victim.info.context))) {
      step(victim.session, Int32(random.below(Int(victim.info.vocabulary))))
    }
    bytes = saved(victim.session)
    _ = curta_session_restore(victim.session, victim.before, victim.before.count)
  }
  for _ in 0...random.below(3) where bytes.count > 80 {
    let at = random.below(random.chance(2) ? 96 : bytes.count - 8)
    switch random.below(6) {
    case 0: bytes[at % bytes.count] ^= 1 << UInt8(random.below(8))
    case 1: bytes[at % bytes.count] = random.element([0, 1, 0x7F, 0x80, 0x81, 0xFF] as [UInt8])
    case 2:
      let word = random.element([0, 1, 0x7FFF, 0x8000, 0x10000, 0x0100_0000, .max] as [UInt64])
      if at + 12 < bytes.count { bytes.put(at & ~3, 4, word) }
    case 3: bytes.remove(at: at % bytes.count)
    case 4: bytes.insert(UInt8(random.below(256)), at: at % bytes.count)
    default:
      let count = bytes.count
      bytes += [UInt8](repeating: 0, count: 16)
      let changed = libFuzzerMutate(&bytes, count, bytes.count)
      bytes = Array(bytes.prefix(changed))
    }
  }
  if bytes.count >= 32, !random.chance(8) { bytes.put(16, 8, UInt64(bytes.count)) }
  if bytes.count >= 8, !random.chance(16) {
    bytes.put(bytes.count - 8, 8, referenceXXH64(bytes.dropLast(8)))
  }
  let count = min(bytes.count, most)
  memcpy(data, bytes, count)
  return count
}
