// Which code of few bits each layer's attention weights get: shift-uniform-log2 of I&S-ViT.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor
import CurtaWrite
import Glibc

/// The levels of a `ScoreCode` and the edges between them in floats, of weights relative to the
/// largest of their row.
struct LevelTable {
  /// max(0, 2^(−n · step / 2) − η), falling, [2^bits].
  let levels: [Float]
  /// The same for n + 1/2: weights below it take level n + 1, [2^bits − 1].
  let edges: [Float]

  init(_ code: ScoreCode) {
    func value(_ n: Double) -> Float {
      Float(max(0, exp2(-n * Double(code.step) / 2) - Double(code.shift) * 0x1p-15))
    }
    levels = (0..<1 << code.bits).map { value(Double($0)) }
    // `attend` takes what is below half a unit for 0.
    edges = (0..<levels.count - 1).map { max(value(Double($0) + 0.5), 0x1p-16) }
  }

  /// The code of a weight.
  func code(_ p: Float) -> Int {
    var n = 0
    while n < edges.count, p < edges[n] { n += 1 }
    return n
  }

  /// Rounds rows [rowWidth] of weights that sum to 1, as the integer program does: the levels are
  /// relative to the largest of the row, and sum to 1 again. Zeros stay.
  func round(_ rows: inout [Float], _ rowWidth: Int) {
    rows.withUnsafeMutableBufferPointer { rows in
      for start in stride(from: 0, to: rows.count, by: rowWidth) {
        let row = UnsafeMutableBufferPointer(rebasing: rows[start..<start + rowWidth])
        guard let most = row.max(), most > 0 else { continue }
        var sum: Float = 0
        for i in row.indices where row[i] > 0 {
          row[i] = levels[code(row[i] / most)]
          sum += row[i]
        }
        for i in row.indices { row[i] /= sum }
      }
    }
  }
}

extension ScoreCode {
  /// The code of `bits` bits that loses least of sample `rows` of attention weights, [positions]
  /// each: Σ (p̂ − p)² over steps of half an octave and shifts η of 0 and 2^−15…2^−1 by √2.
  static func fitting(_ rows: [[Float]], bits: Int) -> ScoreCode {
    var best = ScoreCode(bits: bits, step: 1, shift: 0)
    var least = Double.infinity
    for step in 1...4 {
      for half in 0..<30 {
        let shift = half == 0 ? 0 : Int(exp2(Double(half) / 2 - 0.5).rounded())
        let code = ScoreCode(bits: bits, step: step, shift: shift)
        let table = LevelTable(code)
        var error = 0.0
        for row in rows where error < least {
          var rounded = row
          table.round(&rounded, row.count)
          for i in row.indices { error += Double((rounded[i] - row[i]) * (rounded[i] - row[i])) }
        }
        if error < least { (best, least) = (code, error) }
      }
    }
    return best
  }
}

extension LayerStack {
  /// Rows of attention weights of a layer that a code is fitted to, at most.
  private static let sampledRows = 1024

  /// The codes of all layers' attention weights, from what the float model gives. Throws what
  /// reading a layer throws.
  func scoreCodes(bits: Int) throws -> [ScoreCode] {
    var streams = streams
    return try (0..<d.layers).map { index in
      var rows: [[Float]] = []
      let calls = max(1, streams.count * d.queryHeads)
      let perCall = max(1, LayerStack.sampledRows / calls)
      let watch = LayerRunner(
        d,
        SiteTransform { site, _, values, width in
          guard site == .attentionWeights else { return }
          let count = values.count / width
          for row in stride(from: 0, to: count, by: max(1, count / perCall)) {
            rows.append(Array(values[row * width..<(row + 1) * width]))
          }
        })
      let layer = try layer(index)
      for i in streams.indices {
        var cache = LayerCache()
        watch.run(layer, index, &streams[i], from: 0, &cache)
      }
      return ScoreCode.fitting(rows, bits: bits)
    }
  }
}
