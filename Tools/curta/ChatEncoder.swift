// Turns of a chat as tokens: what somebody says never becomes a control token.
// SPDX-License-Identifier: Apache-2.0

import CurtaCompile
import CurtaEvaluate
import CurtaFormat
import CurtaImport
import CurtaRuntime

struct ChatEncoder {
  let form: ChatForm
  let tokenizer: Tokenizer

  /// The tokens that a turn adds to the session. Throws `HostError`.
  func turn(_ text: String, system: String?, isFirst: Bool) throws(HostError) -> [Int32] {
    try tokens(of: isFirst ? form.first(system: system, user: text) : form.next(user: text))
  }

  /// The tokens of a text made of parts.
  ///
  /// Encoded as a whole, so that tokens may reach over the ends of parts as they do in training.
  /// Where a part that somebody said would give control tokens, each part is encoded by itself.
  func tokens(of parts: [ChatForm.Part]) throws(HostError) -> [Int32] {
    let whole = try encode(parts.map(\.text).joined(), parseSpecial: true)
    var expected = 0
    for part in parts where part.isOfForm {
      expected += try encode(part.text, parseSpecial: true).count { tokenizer.isControl($0) }
    }
    if whole.count(where: { tokenizer.isControl($0) }) == expected { return whole }
    var tokens: [Int32] = []
    for part in parts { tokens += try encode(part.text, parseSpecial: part.isOfForm) }
    return tokens
  }

  private func encode(_ text: String, parseSpecial: Bool) throws(HostError) -> [Int32] {
    do throws(CurtaError) {
      return try tokenizer.tokens(of: text, addBos: false, parseSpecial: parseSpecial)
    } catch {
      throw .file(path: "the turn", error)
    }
  }

  /// The rules of answers, with the end of the assistant's turn: a token, or a stop string.
  func completed(_ rules: AnswerRules) throws(HostError) -> AnswerRules {
    var rules = rules
    guard !form.stop.isEmpty else { return rules }
    let tokens = try encode(form.stop, parseSpecial: true)
    if tokens.count == 1, tokenizer.isControl(tokens[0]) {
      rules.ends.insert(tokens[0])
    } else {
      rules.stops.append(form.stop)
    }
    return rules
  }
}
