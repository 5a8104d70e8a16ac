// The derivative of attention.
// SPDX-License-Identifier: Apache-2.0

import COpenBLAS

extension Tape {
  /// softmax(q·kᵀ·scale)·v of layer `index`, per head, [tokens][queryHeads][headWidth]; the first token
  /// has position 0, and nothing is cached. `transform` changes the weights of the values as if it
  /// changed nothing.
  package func attended(
    _ query: Variable, _ key: Variable, _ value: Variable, _ d: DecoderDescription, _ index: Int,
    _ transform: SiteTransform = .none
  ) -> Variable {
    let tokens = query.value.rows
    let (window, repeats) = (d.attention[index].window, d.queryHeads / d.keyValueHeads)
    // P of each head, [tokens][tokens], and what the transform made of it.
    var odds: [[Float]] = []
    var coded: [[Float]] = []
    var mixed = Matrix(rows: tokens, columns: d.queryWidth)
    for head in 0..<d.queryHeads {
      var scores = [Float](repeating: 0, count: tokens * tokens)
      let (own, shared) = (head * d.headWidth, head / repeats * d.headWidth)
      headProduct(
        query.value, own, transposed: key.value, shared, d.headWidth, Float(d.scoreScale), &scores)
      if let cap = d.scoreCap { softCap(&scores, Float(cap)) }
      softmax(
        &scores, tokens: tokens, positions: tokens, window: window, isCausal: d.isCausal)
      odds.append(scores)
      transform.apply(.attentionWeights, index, &scores, tokens)
      addHeadProduct(scores, false, value.value, shared, 1, &mixed, own, d.headWidth)
      coded.append(scores)
    }
    return record(mixed, [query, key, value]) { gradient in
      var slopes = (
        query: Matrix(rows: tokens, columns: d.queryWidth),
        key: Matrix(rows: tokens, columns: d.keyValueWidth),
        value: Matrix(rows: tokens, columns: d.keyValueWidth)
      )
      for head in 0..<d.queryHeads {
        let (own, shared) = (head * d.headWidth, head / repeats * d.headWidth)
        addHeadProduct(coded[head], true, gradient, own, 1, &slopes.value, shared, d.headWidth)
        var scores = [Float](repeating: 0, count: tokens * tokens)  // dP, then dS
        headProduct(gradient, own, transposed: value.value, shared, d.headWidth, 1, &scores)
        throughSoftmax(&scores, odds[head], tokens)
        if let cap = d.scoreCap {
          var capped = [Float](repeating: 0, count: tokens * tokens)
          headProduct(
            query.value, own, transposed: key.value, shared, d.headWidth, Float(d.scoreScale),
            &capped)
          softCap(&capped, Float(cap))
          for i in scores.indices {
            scores[i] *= 1 - capped[i] / Float(cap) * (capped[i] / Float(cap))
          }
        }
        let scale = Float(d.scoreScale)
        addHeadProduct(scores, false, key.value, shared, scale, &slopes.query, own, d.headWidth)
        addHeadProduct(scores, true, query.value, own, scale, &slopes.key, shared, d.headWidth)
      }
      query.add(slopes.query)
      key.add(slopes.key)
      value.add(slopes.value)
    }
  }
}

/// dS = P · (dP − Σ dP P) of every row, in place of dP.
private func throughSoftmax(_ slopes: inout [Float], _ odds: [Float], _ tokens: Int) {
  slopes.withUnsafeMutableBufferPointer { slopes in
    odds.withUnsafeBufferPointer { odds in
      for start in stride(from: 0, to: tokens * tokens, by: tokens) {
        var sum: Float = 0
        for i in start..<start + tokens { sum += slopes[i] * odds[i] }
        for i in start..<start + tokens { slopes[i] = odds[i] * (slopes[i] - sum) }
      }
    }
  }
}

/// y [n][n] = scale · a · bᵀ for `width` columns of a and b, [n][…], from `atA` and `atB` on.
private func headProduct(
  _ a: Matrix, _ atA: Int, transposed b: Matrix, _ atB: Int, _ width: Int, _ scale: Float,
  _ y: inout [Float]
) {
  let n = blasint(a.rows)
  guard n > 0 else { return }
  a.values.withUnsafeBufferPointer { left in
    b.values.withUnsafeBufferPointer { right in
      cblas_sgemm(
        CblasRowMajor, CblasNoTrans, CblasTrans, n, n, blasint(width), scale,
        left.baseAddress! + atA, blasint(a.columns), right.baseAddress! + atB, blasint(b.columns),
        0, &y, n)
    }
  }
}

/// Adds scale · p · b, or scale · pᵀ · b, with p [n][n], for `width` columns of b from `atB` on to those
/// of y from `atY` on.
private func addHeadProduct(
  _ p: [Float], _ isTransposed: Bool, _ b: Matrix, _ atB: Int, _ scale: Float, _ y: inout Matrix,
  _ atY: Int, _ width: Int
) {
  let (n, columns) = (blasint(b.rows), blasint(y.columns))
  guard n > 0 else { return }
  b.values.withUnsafeBufferPointer { right in
    y.values.withUnsafeMutableBufferPointer { y in
      cblas_sgemm(
        CblasRowMajor, isTransposed ? CblasTrans : CblasNoTrans, CblasNoTrans, n, blasint(width), n,
        scale, p, n, right.baseAddress! + atB, blasint(b.columns), 1, y.baseAddress! + atY, columns)
    }
  }
}
