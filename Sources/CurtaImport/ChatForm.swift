// A chat as data: the texts around what is said. This is what a .curta file keeps of a template.
// SPDX-License-Identifier: Apache-2.0

/// How a conversation becomes a prompt: `chat.*` in `Formats/curta-file.md` section 6.
public struct ChatForm: Equatable, Sendable {
  /// Where the system message goes.
  public enum SystemPlace: UInt64, Sendable {
    /// The model takes none.
    case none = 0
    /// A turn of its own, before the first.
    case turn = 1
    /// In the first user turn, before what the user says.
    case firstUser = 2
  }

  /// Bits of `trims`.
  public static func bit(_ role: ChatMessage.Role) -> UInt64 {
    switch role {
    case .user: 1
    case .assistant: 2
    case .system: 4
    }
  }

  public var begin = ""
  public var systemPlace = SystemPlace.none
  public var systemPrefix = ""
  public var systemSuffix = ""
  /// The system message where none is given.
  public var systemStandard: String?
  public var userPrefix = ""
  public var userSuffix = ""
  public var assistantPrefix = ""
  public var assistantSuffix = ""
  /// What asks the assistant to speak.
  public var generation = ""
  /// Roles whose contents lose the white space at their ends.
  public var trims: UInt64 = 0
  /// Text that ends an answer; empty for none.
  public var stop = ""

  public init() {}

  /// A text that the form gives, or one that somebody said.
  public struct Part: Equatable, Sendable {
    public var text: String
    /// Of the form: control tokens in it count.
    public var isOfForm: Bool
  }

  private func content(_ message: ChatMessage) -> Part {
    let trims = trims & ChatForm.bit(message.role) != 0
    return Part(text: trims ? message.content.stripped() : message.content, isOfForm: false)
  }

  private static func form(_ text: String) -> Part { Part(text: text, isOfForm: true) }

  /// What the first turn adds, up to where the assistant speaks.
  public func first(system: String?, user: String) -> [Part] {
    let said = (system ?? systemStandard).map { content(ChatMessage(.system, $0)) }
    var parts = [ChatForm.form(begin)]
    let block = said.map { [ChatForm.form(systemPrefix), $0, ChatForm.form(systemSuffix)] } ?? []
    if systemPlace == .turn { parts += block }
    parts.append(ChatForm.form(userPrefix))
    if systemPlace == .firstUser { parts += block }
    return parts + asked(user)
  }

  /// What a later turn adds behind the answer before it.
  public func next(user: String) -> [Part] {
    [ChatForm.form(assistantSuffix + userPrefix)] + asked(user)
  }

  private func asked(_ user: String) -> [Part] {
    [content(ChatMessage(.user, user)), ChatForm.form(userSuffix + generation)]
  }

  /// A whole conversation that ends with what the user says, as a template would write it; nil
  /// where roles do not alternate.
  public func render(_ messages: [ChatMessage]) -> String? {
    var rest = messages[...]
    var system: String?
    if rest.first?.role == .system { system = rest.removeFirst().content }
    guard let first = rest.popFirst(), first.role == .user else { return nil }
    var text = self.first(system: system, user: first.content).map(\.text).joined()
    while let answer = rest.popFirst() {
      guard answer.role == .assistant, let question = rest.popFirst(), question.role == .user
      else { return nil }
      text.removeLast(generation)
      text += assistantPrefix + content(answer).text
      text += next(user: question.content).map(\.text).joined()
    }
    return text
  }
}

extension String {
  /// Removes an end that is there.
  fileprivate mutating func removeLast(_ end: String) {
    unicodeScalars.removeLast(end.unicodeScalars.count)
  }
}

// MARK: - Metadata

extension ChatForm {
  /// The number of this form in `chat.form`.
  public static let version: UInt64 = 1

  private static let texts: [(key: String, path: WritableKeyPath<ChatForm, String> & Sendable)] = [
    ("chat.begin", \.begin), ("chat.system.prefix", \.systemPrefix),
    ("chat.system.suffix", \.systemSuffix), ("chat.user.prefix", \.userPrefix),
    ("chat.user.suffix", \.userSuffix), ("chat.assistant.prefix", \.assistantPrefix),
    ("chat.assistant.suffix", \.assistantSuffix), ("chat.generation", \.generation),
    ("chat.stop", \.stop),
  ]

  /// Entries with a number; those of 0 are left out but `chat.form`.
  public var integerEntries: [String: UInt64] {
    var entries = ["chat.form": ChatForm.version]
    if systemPlace != .none { entries["chat.system"] = systemPlace.rawValue }
    if trims != 0 { entries["chat.trim"] = trims }
    return entries
  }

  /// Entries with a text; empty ones are left out.
  public var textEntries: [String: String] {
    var entries: [String: String] = [:]
    for (key, path) in ChatForm.texts where !self[keyPath: path].isEmpty {
      entries[key] = self[keyPath: path]
    }
    if let systemStandard { entries["chat.system.standard"] = systemStandard }
    return entries
  }

  /// The form that metadata hold; nil where they hold none that this version knows.
  public init?(integers: [String: UInt64], texts: [String: String]) {
    guard integers["chat.form"] == ChatForm.version,
      let place = SystemPlace(rawValue: integers["chat.system"] ?? 0),
      integers["chat.trim"] ?? 0 < 8
    else { return nil }
    systemPlace = place
    trims = integers["chat.trim"] ?? 0
    for (key, path) in ChatForm.texts { self[keyPath: path] = texts[key] ?? "" }
    systemStandard = texts["chat.system.standard"]
  }
}
