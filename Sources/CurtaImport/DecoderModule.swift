// The parts of a decoder that have parameters, and where a file keeps them.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor

/// A linear layer, a norm or a table: a weight, and a bias where there is one.
enum DecoderModule: String, CaseIterable, Sendable {
  case embedding, positions, finalNorm, head
  case attentionNorm, query, key, value, queryNorm, keyNorm, output, attentionPostNorm
  case feedForwardNorm, gate, up, down, feedForwardPostNorm

  static let ends: [DecoderModule] = [.embedding, .positions, .finalNorm, .head]
  static let layer: [DecoderModule] = allCases.filter { !ends.contains($0) }

  /// What a module holds; `columns` is nil for a vector.
  struct Size {
    var rows: Int
    var columns: Int?
    var hasWeight = true
    var hasBias = false
  }

  /// What a decoder has of it; nil: nothing. `positions` is the number of learned positions.
  func size(in d: DecoderDescription, positions: Int) -> Size? {
    let parts = d.parts
    func norm(_ isThere: Bool) -> Size? {
      isThere ? Size(rows: d.width, hasBias: parts.contains(.normBias)) : nil
    }
    func linear(_ rows: Int, _ columns: Int, _ bias: DecoderParts) -> Size {
      Size(rows: rows, columns: columns, hasBias: parts.contains(bias))
    }
    func headNorm() -> Size? { parts.contains(.headNorms) ? Size(rows: d.headWidth) : nil }
    switch self {
    case .embedding: return Size(rows: d.vocabularySize, columns: d.width)
    case .positions:
      return parts.contains(.positions) ? Size(rows: positions, columns: d.width) : nil
    case .head:
      let size = Size(
        rows: d.vocabularySize, columns: d.width, hasWeight: !d.tiedHead,
        hasBias: parts.contains(.headBias))
      return size.hasWeight || size.hasBias ? size : nil
    case .finalNorm, .attentionNorm: return norm(true)
    case .attentionPostNorm, .feedForwardPostNorm: return norm(parts.contains(.postNorms))
    case .feedForwardNorm: return norm(!parts.contains(.sharedNorm))
    case .query: return linear(d.queryWidth, d.width, .queryBias)
    case .key: return linear(d.keyValueWidth, d.width, .keyBias)
    case .value: return linear(d.keyValueWidth, d.width, .valueBias)
    case .queryNorm, .keyNorm: return headNorm()
    case .output: return linear(d.width, d.queryWidth, .outputBias)
    case .gate:
      return parts.contains(.gate) ? linear(d.feedForwardWidth, d.width, .gateBias) : nil
    case .up: return linear(d.feedForwardWidth, d.width, .upBias)
    case .down: return linear(d.width, d.feedForwardWidth, .downBias)
    }
  }
}

/// Which rows of a fused matrix belong to one of its modules: `count` rows from `start` on, and so
/// many again every `stride` rows, of `total`.
struct FusedRows: Equatable, Sendable {
  var start: Int
  var count: Int
  var stride: Int
  var total: Int

  init(start: Int, count: Int, stride: Int, total: Int) {
    self.start = start
    self.count = count
    self.stride = stride
    self.total = total
  }

  /// One run of rows: those of part `index` where parts of `sizes` follow each other.
  init(part index: Int, of sizes: [Int]) {
    let total = sizes.reduce(0, +)
    self.init(
      start: sizes[..<index].reduce(0, +), count: sizes[index], stride: total, total: total)
  }

  /// Part `index` of every head, where each head has `parts` parts of `headWidth` rows.
  init(part index: Int, of parts: Int, heads: Int, headWidth: Int) {
    self.init(
      start: index * headWidth, count: headWidth, stride: parts * headWidth,
      total: heads * parts * headWidth)
  }

  /// The row in the file of row `row` of the module.
  func source(_ row: Int) -> Int { start + row / count * stride + row % count }
}

/// Where the weight and the bias of a module are, and what is done to them.
struct ModuleView: Equatable, Sendable, ExpressibleByStringLiteral {
  /// Name of the weight without ".weight"; the bias has the same.
  var name: String
  /// The file has a matrix as [inputs][outputs].
  var isTransposed = false
  /// The module is a part of a larger one.
  var fused: FusedRows?
  /// Neighbouring rows turn together in this many heads; they are put half a head apart.
  var interleavedHeads: Int?
  /// The weight is (file + `plus`) · `times`.
  var plus: Float = 0
  var times: Float = 1

  init(_ name: String) { self.name = name }
  init(stringLiteral name: String) { self.init(name) }

  func transposed() -> ModuleView { with { $0.isTransposed = true } }
  func part(_ rows: FusedRows) -> ModuleView { with { $0.fused = rows } }
  func interleaved(heads: Int) -> ModuleView { with { $0.interleavedHeads = heads } }
  func adding(_ plus: Float) -> ModuleView { with { $0.plus = plus } }
  func scaled(by times: Float) -> ModuleView { with { $0.times *= times } }

  private func with(_ change: (inout ModuleView) -> Void) -> ModuleView {
    var view = self
    change(&view)
    return view
  }

  /// Sizes of the weight (or, without columns, of the bias) in the file.
  func shape(rows: Int, columns: Int?) -> [Int] {
    let total = fused?.total ?? rows
    guard let columns else { return [total] }
    return isTransposed ? [columns, total] : [total, columns]
  }
}
