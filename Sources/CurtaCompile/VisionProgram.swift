// The integer program of a vision transformer: pixels, layers, one row of numbers.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat
import CurtaTensor
import CurtaWrite

extension ProgramDescription {
  /// The program of a vision transformer with its slots assigned. Throws `WriteError`.
  static func vision(
    _ d: VisionDescription, _ tensors: VisionInventory, _ ranges: VisionRanges,
    codes: [ScoreCode] = []
  ) throws(WriteError) -> ProgramDescription {
    var builder = VisionProgram(d, tensors, ranges, codes)
    var program = builder.build()
    try program.assignSlots()
    return program
  }
}

/// What comes before and behind the layers.
private struct VisionProgram {
  private let d: VisionDescription
  private let tensors: VisionInventory
  private let ranges: VisionRanges
  private var builder: ProgramBuilder

  private var width: Int { d.body.width }

  init(
    _ d: VisionDescription, _ tensors: VisionInventory, _ ranges: VisionRanges,
    _ codes: [ScoreCode]
  ) {
    self.d = d
    self.tensors = tensors
    self.ranges = ranges
    builder = ProgramBuilder(d.body, tensors.layers, ranges.layers, codes: codes)
  }

  mutating func build() -> ProgramDescription {
    appendPatches()
    for index in 0..<d.body.layers { builder.appendLayer(index) }
    let output = d.hasHead ? appendHead(appendPool()) : appendFeatures(appendPool())
    return ProgramDescription(
      buffers: builder.buffers, states: builder.states, ops: builder.ops, context: d.rows,
      vocabulary: d.body.vocabularySize, output: output, image: ImageDescription(d))
  }

  // MARK: - From pixels to the residual stream

  private mutating func appendPatches() {
    let codes = builder.buffer("patches", .codes8(scales: 1), d.patchElements, rows: .patches)
    let products = builder.buffer("zp", .scaled, width, rows: .patches)
    let point = d.hasFirstNorm ? ranges.embedded : ranges.layers.residual
    let kind = BufferDescription.Kind.fixed(fraction: point.fraction)
    let rows = builder.buffer("patch_rows", kind, width, rows: .patches)
    let x = d.hasFirstNorm ? builder.buffer("e", kind, width) : builder.residual
    builder.ops += [
      .patchify(out: codes),
      .linear(
        input: codes, parts: [LinearPart(weight: tensors.index(.projection)!, out: products)]),
      .bias(input: products, bias: tensors.index(.projectionBias), out: rows),
      .prefix(input: rows, rows: tensors.index(.prefix), out: x),
    ]
    if let positions = tensors.index(.positions) {
      builder.ops.append(.addPosition(weight: positions, sum: x))
    }
    guard let gamma = tensors.index(.firstNorm) else { return }
    builder.ops.append(
      .norm(input: x, gamma: gamma, out: builder.residual, norm: builder.norm(point)))
    if let bias = tensors.index(.firstNormBias) {
      builder.ops.append(.bias(input: builder.residual, bias: bias, out: builder.residual))
    }
  }

  // MARK: - From the residual stream to the output

  /// A pooled row, and the norm that is still to come.
  private struct Pooled {
    let row: Int
    let point: FixedPoint
    let norm: Int?
  }

  private mutating func appendPool() -> Pooled {
    var (x, point) = (builder.residual, ranges.layers.residual)
    var gamma = tensors.index(.finalNorm)
    let (kind, first): (PoolKind, Int) =
      switch d.pooling {
      case .row(let row): (.row, row)
      case .mean(let first): (.mean, first)
      }
    // With one row it does not matter which comes first.
    if let before = gamma, !d.normsPooledRow, kind == .mean {
      let fixed = BufferDescription.Kind.fixed(fraction: ranges.normed.fraction)
      let normed = builder.buffer("normed", fixed, width)
      builder.ops.append(
        .norm(input: x, gamma: before, out: normed, norm: builder.norm(point)))
      (x, point, gamma) = (normed, ranges.normed, nil)
    }
    let row = builder.buffer(
      "pooled", .fixed(fraction: point.fraction), width, rows: .outputs)
    builder.ops.append(.pool(input: x, out: row, kind: kind, first: first))
    return Pooled(row: row, point: point, norm: gamma)
  }

  private mutating func appendFeatures(_ pooled: Pooled) -> Int {
    let out = builder.buffer("features", .fixed(fraction: 16), width, rows: .outputs)
    builder.ops.append(
      .norm(
        input: pooled.row, gamma: pooled.norm!, out: out, norm: builder.norm(pooled.point)))
    if let bias = tensors.index(.finalNormBias) {
      builder.ops.append(.bias(input: out, bias: bias, out: out))
    }
    return out
  }

  private mutating func appendHead(_ pooled: Pooled) -> Int {
    let block = builder.spreading.model
    var input = builder.buffer("head_input", .codes8(scales: 1), width, rows: .outputs)
    if let gamma = pooled.norm {
      builder.ops.append(
        .normQuant(
          input: pooled.row, gamma: gamma, out: input, norm: builder.norm(pooled.point),
          hadamard: block))
    } else {
      builder.ops.append(.quantize(input: pooled.row, out: input, hadamard: block))
    }
    if let inner = d.headWidth { input = appendHidden(input, inner) }
    let logits = builder.buffer(
      "logits", .fixed(fraction: 16), d.body.vocabularySize, rows: .outputs)
    builder.ops.append(.logits(input: input, weight: tensors.index(.head)!, out: logits))
    if let bias = tensors.index(.headBias) {
      builder.ops.append(.bias(input: logits, bias: bias, out: logits))
    }
    return logits
  }

  /// The first of two layers of a head and the activation between them.
  private mutating func appendHidden(_ input: Int, _ inner: Int) -> Int {
    var rows = builder.buffer("zh", .scaled, inner, rows: .outputs)
    builder.ops.append(
      .linear(input: input, parts: [LinearPart(weight: tensors.index(.hidden)!, out: rows)]))
    if let bias = tensors.index(.hiddenBias) {
      let fixed = builder.buffer(
        "hidden", .fixed(fraction: ranges.hidden.fraction), inner, rows: .outputs)
      builder.ops.append(.bias(input: rows, bias: bias, out: fixed))
      rows = fixed
    }
    let codes = builder.buffer("head_codes", .codes8(scales: 1), inner, rows: .outputs)
    builder.ops.append(
      .gateQuant(
        gate: rows, up: nil, out: codes, activation: Activation(d.body.activation),
        hadamard: Spreading.block(inner)))
    return codes
  }
}

extension ImageDescription {
  init(_ d: VisionDescription) {
    let (way, edge): (Resize, Int) =
      switch d.resize {
      case .none: (.none, 0)
      case .stretch: (.stretch, 0)
      case .crop(let edge): (.crop, edge)
      }
    let filter: Filter =
      switch d.filter {
      case .box: .box
      case .bilinear: .bilinear
      case .bicubic: .bicubic
      }
    self.init(
      height: d.height, width: d.width, channels: d.channels, patchHeight: d.patchHeight,
      patchWidth: d.patchWidth, resize: way, edge: edge, filter: way == .none ? .none : filter)
  }
}
