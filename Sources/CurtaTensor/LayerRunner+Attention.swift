// Grouped-query attention of the float decoder.
// SPDX-License-Identifier: Apache-2.0

import Glibc

extension LayerRunner {
  /// attend(rotate(N(query(n))), rotate(N(key(n))), value(n)), for n [tokens][width]: N are the norms
  /// of the heads, where there are any.
  func mixed(
    _ layer: DecoderLayer, _ index: Int, _ normed: Matrix, from start: Int,
    _ cache: inout LayerCache
  ) -> Matrix {
    let d = description
    var query = normed.through(layer.query)
    var key = normed.through(layer.key)
    var value = normed.through(layer.value)
    transform.apply(.queryRow, index, &query.values, d.queryWidth)
    transform.apply(.keyRow, index, &key.values, d.keyValueWidth)
    transform.apply(.valueRow, index, &value.values, d.keyValueWidth)
    if let weight = layer.queryNorm { query = query.headNormed(weight, d.normEpsilon) }
    if let weight = layer.keyNorm { key = key.headNormed(weight, d.normEpsilon) }
    if let table = d.attention[index].rotary {
      let rotation = Rotation(
        d.rotary[table], headWidth: d.headWidth, from: start, count: normed.rows)
      rotation.apply(&query)
      rotation.apply(&key)
    }
    transform.apply(.query, index, &query.values, d.headWidth)
    transform.apply(.key, index, &key.values, d.headWidth)
    transform.apply(.value, index, &value.values, d.headWidth)
    cache.keys.append(contentsOf: key.values)
    cache.values.append(contentsOf: value.values)

    var mixed = attend(query, cache, index)
    transform.apply(.attentionOutput, index, &mixed.values, d.queryWidth)
    return mixed
  }

  /// P(output(mixed)), P the post norm where there is one.
  func attentionResult(_ layer: DecoderLayer, _ index: Int, _ mixed: Matrix) -> Matrix {
    var result = mixed.through(layer.output)
    if let norm = layer.attentionPostNorm {
      transform.apply(.attentionResult, index, &result.values, description.width)
      result = result.normed(norm, description)
    }
    return result
  }

  /// softmax(q·kᵀ·scale)·v, per head: [tokens][queryHeads][headWidth].
  ///
  /// The queries are those of the last positions in the cache.
  private func attend(_ query: Matrix, _ cache: LayerCache, _ layer: Int) -> Matrix {
    let d = description
    let window = d.attention[layer].window
    let tokens = query.rows
    let positions = cache.keys.count / d.keyValueWidth
    var result = Matrix(rows: tokens, columns: d.queryWidth)
    guard tokens > 0 else { return result }
    var scores = [Float](repeating: 0, count: tokens * positions)  // [tokens][positions]
    query.values.withUnsafeBufferPointer { query in
      cache.keys.withUnsafeBufferPointer { keys in
        cache.values.withUnsafeBufferPointer { values in
          for head in 0..<d.queryHeads {
            let shared = head / (d.queryHeads / d.keyValueHeads) * d.headWidth
            func panel(
              _ base: UnsafeBufferPointer<Float>, _ offset: Int, _ rows: Int, _ stride: Int
            )
              -> FloatPanel
            {
              FloatPanel(
                base.baseAddress! + offset, rows: rows, columns: d.headWidth, stride: stride)
            }
            let q = panel(query, head * d.headWidth, tokens, d.queryWidth)
            let k = panel(keys, shared, positions, d.keyValueWidth)
            let v = panel(values, shared, positions, d.keyValueWidth)
            scores.withUnsafeMutableBufferPointer {
              gemm(
                q, transposed: k, scale: Float(d.scoreScale), into: $0.baseAddress!,
                stride: positions)
            }
            if let cap = d.scoreCap { softCap(&scores, Float(cap)) }
            softmax(
              &scores, tokens: tokens, positions: positions, window: window,
              isCausal: d.isCausal)
            transform.apply(.attentionWeights, layer, &scores, positions)
            scores.withUnsafeBufferPointer { scores in
              result.values.withUnsafeMutableBufferPointer {
                let p = FloatPanel(
                  scores.baseAddress!, rows: tokens, columns: positions, stride: positions)
                gemm(p, v, into: $0.baseAddress! + head * d.headWidth, stride: d.queryWidth)
              }
            }
          }
        }
      }
    }
    return result
  }
}

/// Softmax of each row [positions] over all positions or, where it is causal, over the last `window`
/// up to its own; zero elsewhere.
func softmax(
  _ scores: inout [Float], tokens: Int, positions: Int, window: Int?, isCausal: Bool
) {
  scores.withUnsafeMutableBufferPointer { scores in
    for token in 0..<tokens {
      let start = token * positions
      let row = UnsafeMutableBufferPointer(rebasing: scores[start..<start + positions])
      let end = isCausal ? positions - tokens + token + 1 : positions
      let first = window.map { max(0, end - $0) } ?? 0
      var largest = -Float.infinity
      for i in first..<end { largest = max(largest, row[i]) }
      var sum: Float = 0
      for i in first..<end {
        row[i] = expf(row[i] - largest)
        sum += row[i]
      }
      for i in first..<end { row[i] /= sum }
      for i in 0..<first { row[i] = 0 }
      for i in end..<positions { row[i] = 0 }
    }
  }
}

/// The rotary angles of a run of positions.
struct Rotation {
  private let pairing: RopePairing
  private let headWidth: Int
  private let pairs: Int
  private let cosines: [Float]  // [positions][pairs]
  private var sines: [Float]  // [positions][pairs]

  /// Angles of the positions `start ..< start + count`, in double precision.
  init(_ table: RotaryTable, headWidth: Int, from start: Int, count: Int) {
    pairing = table.pairing
    pairs = table.frequencies.count
    self.headWidth = headWidth
    var cosines: [Float] = []
    var sines: [Float] = []
    for position in start..<start + count {
      for frequency in table.frequencies {
        let angle = Double(position) * frequency
        cosines.append(Float(cos(angle)))
        sines.append(Float(sin(angle)))
      }
    }
    self.cosines = cosines
    self.sines = sines
  }

  /// The same angles the other way round.
  var inverse: Rotation {
    var other = self
    other.sines = sines.map { -$0 }
    return other
  }

  /// Turns every head of x, [positions][heads][headWidth].
  func apply(_ x: inout Matrix) {
    let heads = x.columns / headWidth
    let step = pairing == .interleaved ? 2 : 1
    let distance = pairing == .interleaved ? 1 : pairs
    x.values.withUnsafeMutableBufferPointer { values in
      for row in 0..<values.count / headWidth {
        let angles = row / heads * pairs
        let base = row * headWidth
        for pair in 0..<pairs {
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
