// Runs the current op of a session in parts, whatever its size.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat

@testable import CurtaRuntime

extension Session {
  /// The current op as `parts` parts, the last one first.
  func runSplit(_ parts: Int) {
    let code = state.pointee.op.code
    if [.headQuant, .cacheAppend].contains(code) { placeRotations() }
    let isProduct = [.linear, .linearAdd, .logits].contains(code)
    for pass in code == .attend ? [0, 1] : isProduct && turnsRows ? [1, 0] : [0] {
      state.pointee.op.pass = pass
      for part in (0..<parts).reversed() { self.part(part, of: parts) }
    }
    state.pointee.op.pass = 0
  }
}
