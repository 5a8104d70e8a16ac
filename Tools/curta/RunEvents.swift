// What `curta run --json` prints: one object a line, schema curta.run/2.
// SPDX-License-Identifier: Apache-2.0

/// Why an answer ended.
enum StopReason: String, Encodable {
  /// -n tokens were written.
  case count
  /// The model gave an end token.
  case end
  /// A stop string came.
  case stop
  /// There is no position left.
  case context
  /// Ctrl-C.
  case interrupted
}

/// The first line: what runs, and how.
struct StartEvent: Encodable {
  let schema = "curta.run/2"
  let event = "start"
  let model: String
  /// 16 hexadecimal digits.
  let identity: String
  let context, chunk, threads: UInt32
  let kernels: String
  let arenaBytes: UInt64
  let loadSeconds: Double
  /// Tokens that a loaded session already has.
  let past: Int
}

/// Before a prompt is fed. `turn` counts from 1 in a chat.
struct PromptEvent: Encodable {
  let event = "prompt"
  let turn: Int?
  let tokens: [Int32]
}

/// A token of the answer, and the text that may be shown since it came.
struct TokenEvent: Encodable {
  let event = "token"
  let token: Int32
  let text: String?
}

/// After an answer.
struct EndEvent: Encodable {
  let event = "end"
  let turn: Int?
  let stop: StopReason
  /// The stop string that came, when `stop` is stop.
  let stopText: String?
  /// Text that was held back and belongs to the answer.
  let tail: String
  let promptTokens, tokens: Int
  let loadSeconds, promptSeconds, decodeSeconds: Double
  let promptTokensPerSecond, decodeTokensPerSecond: Double
  let past: Int
  let arenaBytes: UInt64
  let threads: UInt32
  let kernels: String
  let logitsSha256: String?
}

/// After a session was saved or loaded.
struct SessionEvent: Encodable {
  /// saved, loaded or reset.
  let event: String
  let path: String?
  let past: Int
}

/// In a chat: a line could not be answered, and the chat goes on.
struct ErrorEvent: Encodable {
  let event = "error"
  let message: String
}
