// What the format cannot hold of a model's layers, all of it in one list.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat
import CurtaTensor
import CurtaWrite

extension DecoderDescription {
  /// Lists everything about a decoder that passes a limit of the format. Throws `ConversionError`.
  func checkLimits() throws(ConversionError) {
    var problems = problems
    if !isCausal { problems.append("a model of text whose tokens see those behind them") }
    if parts.isSuperset(of: [.normBias, .normsBehind]) {
      problems.append("layer norms behind the sums of a model of text, with a bias")
    }
    guard problems.isEmpty else { throw .unsupported(problems) }
  }

  /// What of the layers and numbers passes a limit of the format.
  var problems: [String] {
    let limits: [(String, Int, UInt32)] = [
      ("context", contextLength, Limits.context),
      ("width", width, Limits.codesWidth),
      ("feed-forward width", feedForwardWidth, Limits.codesWidth),
      ("width of all query heads", queryWidth, Limits.codesWidth),
      ("vocabulary", vocabularySize, Limits.rows),
      ("query heads", queryHeads, Limits.heads),
      ("width of a head", headWidth, Limits.headWidth),
      ("caches", 2 * layers, Limits.states),
      ("vocabulary with a bias", parts.contains(.headBias) ? vocabularySize : 0, Limits.columns),
    ]
    var problems = limits.filter { $0.1 > Int($0.2) }.map { "\($0.0): \($0.1) (at most \($0.2))" }
    let caps = [
      ("cap of the scores", scoreCapOperand, scoreCap),
      ("cap of the logits", Int(((logitCap ?? 0) * 0x1p16).rounded()), logitCap),
    ]
    for (name, operand, cap) in caps {
      guard let cap, !(1 << 16...1 << 26).contains(operand) else { continue }
      problems.append("\(name): \(cap) (about 1 to 700)")
    }
    if parts.isSuperset(of: [.normBias, .postNorms]) {
      problems.append("layer norms behind a block, with a bias")
    }
    let factor = Dyadic(scoreFactor(Spreading(self)))
    if !(-64...64).contains(factor.exponent) {
      problems.append("factor of the scores: \(scoreScale)")
    }
    return problems
  }
}
