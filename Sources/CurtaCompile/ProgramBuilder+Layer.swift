// The ops of one layer.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat
import CurtaTensor
import CurtaWrite

extension ProgramBuilder {
  mutating func appendLayer(_ index: Int) {
    guard !d.parts.contains(.normsBehind) else {
      appendAttention(index, appendCodes())
      appendNormBehind(.attentionNorm, .attentionNormBias, index)
      appendFeedForward(index, appendCodes())
      return appendNormBehind(.feedForwardNorm, .feedForwardNormBias, index)
    }
    let input = appendNorm(.attentionNorm, index)
    guard d.parts.contains(.parallel) else {
      appendAttention(index, input)
      appendFeedForward(index, appendNorm(.feedForwardNorm, index))
      return
    }
    // Both read x as it is now, so both norms come before the first sum.
    let other =
      d.parts.contains(.sharedNorm) ? input : appendNorm(.feedForwardNorm, index, "a2")
    appendAttention(index, input)
    appendFeedForward(index, other)
  }

  /// Normed and quantized rows of the residual stream.
  private mutating func appendNorm(_ part: LayerPart, _ layer: Int, _ name: String = "a") -> Int {
    let out = buffer(name, .codes8(scales: 1), d.width)
    ops.append(
      .normQuant(
        input: residual, gamma: tensors.index(part, layer: layer)!, out: out,
        norm: norm(ranges.residual), hadamard: spreading.model))
    return out
  }

  /// Quantized rows of the residual stream as it is.
  private mutating func appendCodes() -> Int {
    let out = buffer("a", .codes8(scales: 1), d.width)
    ops.append(.quantize(input: residual, out: out, hadamard: spreading.model))
    return out
  }

  /// x = N(x), in another buffer.
  private mutating func appendNormBehind(_ part: LayerPart, _ bias: LayerPart, _ layer: Int) {
    appendResidualNorm(
      gamma: tensors.index(part, layer: layer)!, bias: tensors.index(bias, layer: layer))
  }

  /// The residual stream through a norm, in another buffer.
  mutating func appendResidualNorm(gamma: Int, bias: Int?) {
    let out = otherResidual
    ops.append(.norm(input: residual, gamma: gamma, out: out, norm: norm(ranges.residual)))
    if let bias { ops.append(.bias(input: out, bias: bias, out: out)) }
    residual = out
  }

  // MARK: - Attention

  private mutating func appendAttention(_ index: Int, _ input: Int) {
    let rows = [
      ("q", LayerPart.query, d.queryWidth), ("k", .key, d.keyValueWidth),
      ("v", .value, d.keyValueWidth),
    ].map { (name, part, width) in
      LinearPart(
        weight: tensors.index(part, layer: index)!, out: buffer("z" + name, .scaled, width))
    }
    let between = appendProducts(input, rows, [.query, .key, .value], index)
    let hasNorms = d.parts.contains(.headNorms)
    func isFixed(_ part: LayerPart) -> Bool { addsFactors(part, index) }
    let query = appendBias(
      rows[0].out, .queryBias, .queryRow, index, always: hasNorms || isFixed(.query))
    let key = appendBias(rows[1].out, .keyBias, .keyRow, index, always: hasNorms || isFixed(.key))
    let value = appendBias(rows[2].out, .valueBias, .valueRow, index, always: isFixed(.value))
    appendFactors(between, to: [query, key, value], [.query, .key, .value], index)

    let layer = d.attention[index]
    let rotation = layer.rotary.map { table in
      Rotation(
        phases: tensors.phases(table),
        pairing: d.rotary[table].pairing == .interleaved ? .interleaved : .halfSplit)
    }
    func headNorm(_ part: LayerPart, _ site: ActivationSite) -> HeadNorm? {
      tensors.index(part, layer: index).map {
        HeadNorm(gamma: $0, epsilon: ranges.point(site, layer: index).epsilon)
      }
    }
    let codes = buffer("q", .codes8(scales: d.queryHeads), d.queryWidth)
    let mixed = buffer("o", .codes8(scales: 1), d.queryWidth)
    let (keys, values) = (2 * index, 2 * index + 1)
    let factor = Dyadic(d.scoreFactor(spreading))
    ops += [
      .headQuant(
        input: query, out: codes, rotation: rotation, norm: headNorm(.queryNorm, .queryRow),
        hadamard: spreading.head),
      .cacheAppend(
        input: key, state: keys, rotation: rotation, norm: headNorm(.keyNorm, .keyRow),
        hadamard: spreading.head),
      .cacheAppend(input: value, state: values, rotation: nil),
      .attend(
        query: codes, keys: keys, values: values, out: mixed, window: layer.window ?? 0,
        mantissa: factor.mantissa, exponent: factor.exponent, hadamard: spreading.behindAttention,
        cap: d.scoreCapOperand, code: scoreCodes.isEmpty ? nil : scoreCodes[index]),
    ]
    appendSum(mixed, .output, .outputBias, .attentionPostNorm, .attentionResult, index)
  }

  /// The rows as fixed numbers with their bias, where there is one or fixed numbers are needed.
  private mutating func appendBias(
    _ rows: Int, _ part: LayerPart, _ site: ActivationSite, _ layer: Int, always: Bool = false
  ) -> Int {
    let bias = tensors.index(part, layer: layer)
    guard bias != nil || always else { return rows }
    let width: Int =
      switch part {
      case .queryBias: d.queryWidth
      case .keyBias, .valueBias: d.keyValueWidth
      case .gateBias, .upBias: d.feedForwardWidth
      default: d.width
      }
    let point = ranges.point(
      site, layer: layer, block: site == .valueRow ? spreading.value : 0)
    let out = buffer("\(site.rawValue)", .fixed(fraction: point.fraction), width)
    ops.append(.bias(input: rows, bias: bias, out: out))
    return out
  }

  // MARK: - Feed-forward network

  private mutating func appendFeedForward(_ index: Int, _ input: Int) {
    let width = d.feedForwardWidth
    let product = buffer("h", .codes8(scales: 1), width)
    var rows = [
      LinearPart(
        weight: tensors.index(.up, layer: index)!, out: buffer("zu", .scaled, width))
    ]
    if let gate = tensors.index(.gate, layer: index) {
      rows.insert(LinearPart(weight: gate, out: buffer("zg", .scaled, width)), at: 0)
    }
    let parts: [LayerPart] = rows.count == 2 ? [.gate, .up] : [.up]
    let between = appendProducts(input, rows, parts, index)
    let up = appendBias(
      rows[rows.count - 1].out, .upBias, .upRow, index, always: addsFactors(.up, index))
    let gate =
      rows.count == 2
      ? appendBias(rows[0].out, .gateBias, .gateRow, index, always: addsFactors(.gate, index)) : nil
    appendFactors(between, to: rows.count == 2 ? [gate!, up] : [up], parts, index)
    ops.append(
      .gateQuant(
        gate: gate ?? up, up: gate == nil ? nil : up, out: product,
        activation: Activation(d.activation), hadamard: spreading.feedForward))
    appendSum(product, .down, .downBias, .feedForwardPostNorm, .feedForwardResult, index)
  }

  // MARK: - Sums

  /// x += P(W · input + bias), P the post norm where there is one.
  private mutating func appendSum(
    _ input: Int, _ weight: LayerPart, _ bias: LayerPart, _ postNorm: LayerPart,
    _ site: ActivationSite, _ layer: Int
  ) {
    let x = residual
    let part = weight
    let weight = tensors.index(part, layer: layer)!
    guard let gamma = tensors.index(postNorm, layer: layer) else {
      if let factors = tensors.factors(part, layer: layer) {
        if factors.left != weight { ops.append(.linearAdd(input: input, weight: weight, sum: x)) }
        let codes = appendBetween(appendRight(input, [(part, factors)]))[0]
        ops.append(.linearAdd(input: codes, weight: factors.left, sum: x))
      } else {
        ops.append(.linearAdd(input: input, weight: weight, sum: x))
      }
      if let bias = tensors.index(bias, layer: layer) {
        ops.append(.bias(input: x, bias: bias, out: x))
      }
      return
    }
    let result = buffer("zo", .scaled, d.width)
    let between = appendProducts(
      input, [LinearPart(weight: weight, out: result)], [part], layer)
    let rows = appendBias(result, bias, site, layer, always: true)
    appendFactors(between, to: [rows], [part], layer)
    let normed = buffer("n", .fixed(fraction: ranges.residual.fraction), d.width)
    ops.append(
      .norm(
        input: rows, gamma: gamma, out: normed, norm: norm(ranges.point(site, layer: layer))))
    ops.append(.add(input: normed, sum: x))
  }
}

extension Activation {
  init(_ activation: DecoderActivation) {
    switch activation {
    case .silu: self = .silu
    case .geluTanh: self = .geluTanh
    case .geluErf: self = .geluErf
    case .quickGelu: self = .quickGelu
    case .relu: self = .relu
    }
  }
}
