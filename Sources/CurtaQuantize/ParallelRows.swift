// Work on the rows of a matrix, spread over the cores.
// SPDX-License-Identifier: Apache-2.0

import Dispatch

/// Calls `body` once for every row 0 ..< rows, on all cores, in no fixed order.
///
/// `body` writes only what belongs to its row, so that the result does not depend on the cores.
func forEachRow(_ rows: Int, _ body: (Int) -> Void) {
  let chunk = 16
  withoutActuallyEscaping(body) { body in
    nonisolated(unsafe) let body = body
    DispatchQueue.concurrentPerform(iterations: (rows + chunk - 1) / chunk) { part in
      for row in part * chunk..<min(rows, (part + 1) * chunk) { body(row) }
    }
  }
}

/// `body` of 0 ..< count, in this order, computed on all cores.
package func concurrentMap<Result: Sendable>(_ count: Int, _ body: (Int) -> Result) -> [Result] {
  var results = [Result?](repeating: nil, count: count)
  withoutActuallyEscaping(body) { body in
    nonisolated(unsafe) let body = body
    results.withUnsafeMutableBufferPointer { results in
      nonisolated(unsafe) let results = results
      DispatchQueue.concurrentPerform(iterations: count) { results[$0] = body($0) }
    }
  }
  return results.map { $0! }
}
