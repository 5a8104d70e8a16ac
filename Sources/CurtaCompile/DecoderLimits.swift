// What the format cannot hold of a decoder, all of it in one list.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat
import CurtaTensor
import CurtaWrite

extension DecoderDescription {
  /// Lists everything about the model that passes a limit of the format. Throws `ConversionError`.
  func checkLimits() throws(ConversionError) {
    let limits: [(String, Int, UInt32)] = [
      ("context", contextLength, Limits.context),
      ("width", width, Limits.codesWidth),
      ("feed-forward width", feedForwardWidth, Limits.codesWidth),
      ("width of all query heads", queryWidth, Limits.codesWidth),
      ("vocabulary", vocabularySize, Limits.rows),
      ("query heads", queryHeads, Limits.heads),
      ("width of a head", headWidth, Limits.headWidth),
      ("caches", 2 * layers, Limits.states),
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
    guard problems.isEmpty else { throw .unsupported(problems) }
  }
}
