// Fuzz target: any sequence of calls with any arguments on sessions of a valid file.
// SPDX-License-Identifier: Apache-2.0

import CCurta
import Foundation

private let vector = ValidVector.named("window").bytes

/// Every call is a byte, followed by the bytes of its arguments.
@c(LLVMFuzzerTestOneInput)
public func fuzzCalls(_ data: UnsafePointer<UInt8>?, _ size: Int) -> Int32 {
  var rest = [UInt8](UnsafeBufferPointer(start: data, count: size))[...]
  func byte() -> UInt8 { rest.popFirst() ?? 0 }
  func number() -> UInt64 {
    switch byte() % 4 {
    case 0: return UInt64(byte())
    case 1: return UInt64(byte()) | UInt64(byte()) << 8 | UInt64(byte()) << 16
    case 2: return UInt64(bitPattern: -1 - Int64(byte()))
    default: return 1 << UInt64(byte() % 64)
    }
  }
  withAligned(vector) { file in
    let chunk = UInt32(1 + byte() % 8)
    _ = withSession(file, vector.count, smallOptions(chunk: chunk, kernels: 0), fill: byte()) {
      session, info in
      var past = 0
      while !rest.isEmpty {
        switch byte() % 6 {
        case 0:
          let tokens = (0..<8).map { _ in Int32(truncatingIfNeeded: Int8(bitPattern: byte())) }
          let count = Int(truncatingIfNeeded: number())
          let outputs = Int(truncatingIfNeeded: number())
          if curta_step(session, tokens, count, outputs) == 0 { past += count }
        case 1:
          let to = Int(truncatingIfNeeded: number())
          if curta_rewind(session, to) == 0 { past = to }
        case 2:
          if let row = curta_logits(session, Int(truncatingIfNeeded: number())) {
            _ = row[Int(info.vocabulary) - 1]
          }
        case 3: curta_seed(session, number())
        case 4:
          var sampling = curta_sampling()
          sampling.struct_size = UInt32(MemoryLayout<curta_sampling>.size) + UInt32(byte() / 255)
          sampling.temperature = UInt32(truncatingIfNeeded: number())
          sampling.top_k = UInt32(truncatingIfNeeded: number())
          sampling.top_p = UInt32(truncatingIfNeeded: number())
          sampling.min_p = UInt32(truncatingIfNeeded: number())
          sampling.repetition_penalty = UInt32(truncatingIfNeeded: number())
          sampling.penalty_window = UInt32(truncatingIfNeeded: number())
          var token: Int32 = -1
          if curta_sample(session, &sampling, &token) == 0,
            token < 0 || token >= Int32(info.vocabulary)
          {
            fatalError("token \(token)")
          }
        default:
          _ = curta_is_end(session, Int32(truncatingIfNeeded: number()))
          _ = curta_encode_scratch(session, Int(truncatingIfNeeded: number()))
        }
        guard curta_past(session) == past else { fatalError("past") }
      }
    }
  }
  return 0
}
