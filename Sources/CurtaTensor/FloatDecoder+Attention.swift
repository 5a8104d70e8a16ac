// Rotary grouped-query attention of the float decoder.
// SPDX-License-Identifier: Apache-2.0

import Glibc

extension FloatDecoder {
  /// x += output(attend(rotate(query(n)), rotate(key(n)), value(n))), n = norm(x).
  func attention(
    _ index: Int, _ x: inout Matrix, _ rotation: Rotation, _ state: inout FloatDecoderState
  ) {
    let layer = weights.layers[index]
    let headWidth = description.headWidth
    var normed = rmsNorm(x, layer.attentionNorm, description.normEpsilon)
    transform.apply(.attentionInput, index, &normed.values, description.width)

    var query = normed.times(transposed: layer.query)
    var key = normed.times(transposed: layer.key)
    var value = normed.times(transposed: layer.value)
    rotation.apply(&query)
    rotation.apply(&key)
    transform.apply(.query, index, &query.values, headWidth)
    transform.apply(.key, index, &key.values, headWidth)
    transform.apply(.value, index, &value.values, headWidth)
    state.keys[index].append(contentsOf: key.values)
    state.values[index].append(contentsOf: value.values)

    var mixed = attend(query, keys: state.keys[index], values: state.values[index])
    transform.apply(.attentionOutput, index, &mixed.values, description.queryWidth)
    x.add(mixed.times(transposed: layer.output))
    transform.apply(.residual, index, &x.values, description.width)
  }

  /// softmax(q·kᵀ/√headWidth)·v with a causal mask, per head: [tokens][queryHeads][headWidth].
  ///
  /// `keys` and `values` are [positions][keyValueHeads][headWidth]; the queries are the last ones.
  private func attend(_ query: Matrix, keys: [Float], values: [Float]) -> Matrix {
    let d = description
    let tokens = query.rows
    let positions = keys.count / d.keyValueWidth
    var result = Matrix(rows: tokens, columns: d.queryWidth)
    guard tokens > 0 else { return result }
    var scores = [Float](repeating: 0, count: tokens * positions)  // [tokens][positions]
    let scale = 1 / Float(d.headWidth).squareRoot()
    query.values.withUnsafeBufferPointer { query in
      keys.withUnsafeBufferPointer { keys in
        values.withUnsafeBufferPointer { values in
          scores.withUnsafeMutableBufferPointer { scores in
            result.values.withUnsafeMutableBufferPointer { result in
              for head in 0..<d.queryHeads {
                let shared = head / (d.queryHeads / d.keyValueHeads) * d.headWidth
                let q = FloatPanel(
                  query.baseAddress! + head * d.headWidth, rows: tokens, columns: d.headWidth,
                  stride: d.queryWidth)
                let k = FloatPanel(
                  keys.baseAddress! + shared, rows: positions, columns: d.headWidth,
                  stride: d.keyValueWidth)
                let v = FloatPanel(
                  values.baseAddress! + shared, rows: positions, columns: d.headWidth,
                  stride: d.keyValueWidth)
                gemm(q, transposed: k, scale: scale, into: scores.baseAddress!, stride: positions)
                causalSoftmax(scores, tokens: tokens, positions: positions)
                let p = FloatPanel(
                  scores.baseAddress!, rows: tokens, columns: positions, stride: positions)
                gemm(
                  p, v, into: result.baseAddress! + head * d.headWidth, stride: d.queryWidth)
              }
            }
          }
        }
      }
    }
    return result
  }
}

/// Softmax of each row [positions] over the positions up to its own; zero beyond.
private func causalSoftmax(
  _ scores: UnsafeMutableBufferPointer<Float>, tokens: Int, positions: Int
) {
  for token in 0..<tokens {
    let start = token * positions
    let row = UnsafeMutableBufferPointer(rebasing: scores[start..<start + positions])
    let visible = positions - tokens + token + 1
    var largest = -Float.infinity
    for i in 0..<visible { largest = max(largest, row[i]) }
    var sum: Float = 0
    for i in 0..<visible {
      row[i] = expf(row[i] - largest)
      sum += row[i]
    }
    for i in 0..<visible { row[i] /= sum }
    for i in visible..<positions { row[i] = 0 }
  }
}

/// The rotary angles of a run of positions.
struct Rotation {
  private let pairing: RopePairing
  private let headWidth: Int
  private let cosines: [Float]  // [positions][headWidth / 2]
  private let sines: [Float]  // [positions][headWidth / 2]

  /// Angles of the positions `start ..< start + count`, in double precision.
  init(_ description: DecoderDescription, from start: Int, count: Int) {
    pairing = description.ropePairing
    headWidth = description.headWidth
    var cosines: [Float] = []
    var sines: [Float] = []
    for position in start..<start + count {
      for pair in 0..<description.headWidth / 2 {
        let exponent = -2 * Double(pair) / Double(description.headWidth)
        let angle = Double(position) * pow(description.ropeBase, exponent)
        cosines.append(Float(cos(angle)))
        sines.append(Float(sin(angle)))
      }
    }
    self.cosines = cosines
    self.sines = sines
  }

  /// Turns every head of x, [positions][heads][headWidth].
  func apply(_ x: inout Matrix) {
    let half = headWidth / 2
    let heads = x.columns / headWidth
    let step = pairing == .interleaved ? 2 : 1
    let distance = pairing == .interleaved ? 1 : half
    x.values.withUnsafeMutableBufferPointer { values in
      for row in 0..<values.count / headWidth {
        let angles = row / heads * half
        let base = row * headWidth
        for pair in 0..<half {
          let cosine = cosines[angles + pair]
          let sine = sines[angles + pair]
          let first = base + pair * step
          let a = values[first]
          let b = values[first + distance]
          values[first] = a * cosine - b * sine
          values[first + distance] = a * sine + b * cosine
        }
      }
    }
  }
}
