// Mean and second moments of a float model's inputs, kept in a file for any number of conversions.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat
import CurtaQuantize
import CurtaTensor
import CurtaWrite

/// A file of statistics: X Xᵀ / T of what enters the linear layers of a float model, each distinct
/// input once, over T rows of text or images.
///
/// A `WorkKind.statistics` whose metadata have `source.files` and `source.hash` of the checkpoint
/// (`Formats/curta-file.md` section 6), `tool`, `work.rows` (T) and `work.sequence` (the most rows of
/// one input). Its tensors are words, float32, named `layers.3.attention_input` and so on, and
/// `head_input` where a head multiplies rows. A matrix [n][n] is given by its lower triangle row by
/// row, n (n + 1) / 2 numbers in ⌈n / 2⌉ rows of n + 1, of odd n in n rows of (n + 1) / 2, and behind
/// it the mean of the rows as `layers.3.attention_input.mean`, [1][n]. Rows are the float model's own, neither rounded nor turned by a Hadamard, so that they serve every recipe.
final class Statistics {
  private let work: WorkFile
  /// Rows behind the moments.
  private let rows: Int
  /// The most rows of one input.
  let sequence: Int

  /// Opens the file at `path`, which has to be of the model with `metadata`. Throws `WorkError`.
  init(_ path: String, of metadata: [String: MetadataValue]) throws(WorkError) {
    work = try WorkFile(path, .statistics)
    guard let rows = work.integer("work.rows"), let sequence = work.integer("work.sequence"),
      rows > 0, sequence > 0
    else { throw .damaged(path: path, reason: "it does not say how much was seen") }
    (self.rows, self.sequence) = (rows, sequence)
    guard let own = work.metadata["source.hash"], own == metadata["source.hash"] else {
      throw .unfit(
        "\(path): these are statistics of another checkpoint; its files were:\n"
          + (work.text("source.files") ?? "unknown")
          + "Make new ones with curta calibrate.")
    }
  }

  /// What no other statistics have.
  var identity: String { String(work.file.identity, radix: 16) }

  /// The moments of the inputs of a layer, turned as `spreading` has it. Throws `WorkError` and
  /// `QuantizeError`.
  func moments(layer: Int, _ d: DecoderDescription) throws -> InputMoments {
    try moments(ActivationSite.linearInputs.filter { $0 != .headInput }, layer, d)
  }

  /// The moments of the head's input.
  func headMoments(_ d: DecoderDescription) throws -> InputMoments {
    try moments([.headInput], 0, d)
  }

  private func moments(
    _ sites: [ActivationSite], _ layer: Int, _ d: DecoderDescription
  ) throws -> InputMoments {
    let spreading = Spreading(d)
    var moments: [ActivationSite: Hessian] = [:]
    for site in sites where site.isPresent(in: d) {
      let name = site.statisticsName(layer: layer)
      let n = site.width(d)
      guard let descriptor = try work.descriptor(name),
        case .words(let words) = try TensorReader(work.file, descriptor).quantized().base,
        words.words.count == n * (n + 1) / 2
      else {
        throw WorkError.unfit("\(work.path): no moments of \(n) inputs for \(name)")
      }
      var values = [Double](repeating: 0, count: n * n)
      var next = 0
      for i in 0..<n {
        for j in 0...i {
          let value = Double(Float(bitPattern: words.words[next]))
          values[i * n + j] = value
          values[j * n + i] = value
          next += 1
        }
      }
      guard let descriptor = try work.descriptor(Statistics.mean(name)),
        case .words(let means) = try TensorReader(work.file, descriptor).quantized().base,
        means.words.count == n
      else { throw WorkError.unfit("\(work.path): no means of \(n) inputs for \(name)") }
      var mean = means.words.map { Float(bitPattern: $0) }
      let block = spreading[site]
      if block > 0 {
        turn(&values, n, block: block)
        hadamard(&mean, block: block, scale: 1)
      }
      moments[site] = try Hessian(
        columns: n, values: values, mean: mean.map(Double.init), samples: rows)
    }
    return InputMoments(spreading, moments)
  }

  /// B H Bᵀ for the Hadamard B of blocks, of a symmetric H [n][n].
  private func turn(_ values: inout [Double], _ n: Int, block: Int) {
    for _ in 0..<2 {
      values.withUnsafeMutableBufferPointer { values in
        var half = 1
        while half < block {
          for start in stride(from: 0, to: n * n, by: 2 * half) {
            for i in start..<start + half {
              let (a, b) = (values[i], values[i + half])
              values[i] = a + b
              values[i + half] = a - b
            }
          }
          half *= 2
        }
        // What was done to the rows is done to the columns next.
        for i in 0..<n {
          for j in 0..<i { values.swapAt(i * n + j, j * n + i) }
        }
      }
    }
    // Sums that cancel leave what float32 rounded off.
    for i in 0..<n {
      values[i * (n + 1)] = max(0, values[i * (n + 1)])
      for j in 0..<i { values[j * n + i] = values[i * n + j] }
    }
  }

  /// The name of the mean beside a matrix.
  private static func mean(_ name: String) -> String { "\(name).mean" }

  /// A matrix and its mean as tensors of the file.
  static func tensors(_ name: String, _ moments: Hessian) -> [TensorContents] {
    let n = moments.columns
    var words: [UInt32] = []
    words.reserveCapacity(n * (n + 1) / 2)
    for i in 0..<n {
      for j in 0...i { words.append(Float(moments.values[i * n + j]).bitPattern) }
    }
    let columns = n % 2 == 0 ? n + 1 : (n + 1) / 2
    return [
      TensorContents(
        name: name, rows: words.count / columns, columns: columns, payload: .words(words)),
      TensorContents(
        name: mean(name), rows: 1, columns: n,
        payload: .words(moments.mean.map { Float($0).bitPattern })),
    ]
  }
}

extension ActivationSite {
  /// Where linear layers read, in the order of a layer, and the head.
  static let linearInputs: [ActivationSite] = [
    .attentionInput, .attentionOutput, .feedForwardInput, .feedForwardProduct, .headInput,
  ]

  /// Whether the layers of a decoder have rows of their own here.
  func isPresent(in d: DecoderDescription) -> Bool {
    self != .feedForwardInput || !d.parts.contains(.sharedNorm)
  }

  /// Numbers in a row.
  fileprivate func width(_ d: DecoderDescription) -> Int {
    switch self {
    case .attentionOutput: d.queryWidth
    case .feedForwardProduct: d.feedForwardWidth
    default: d.width
    }
  }

  /// Name of a tensor of statistics.
  func statisticsName(layer: Int) -> String {
    switch self {
    case .attentionInput: "layers.\(layer).attention_input"
    case .attentionOutput: "layers.\(layer).attention_output"
    case .feedForwardInput: "layers.\(layer).feed_forward_input"
    case .feedForwardProduct: "layers.\(layer).feed_forward_product"
    default: "head_input"
    }
  }
}
