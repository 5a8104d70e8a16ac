// A chat template: Jinja text that turns messages into a prompt. Only the converter runs it.
// SPDX-License-Identifier: Apache-2.0

/// A message of a conversation.
public struct ChatMessage: Equatable, Sendable {
  public enum Role: String, Sendable {
    case system, user, assistant
  }
  public var role: Role
  public var content: String

  public init(_ role: Role, _ content: String) {
    self.role = role
    self.content = content
  }
}

/// A template that has been read, with the tokens that it may name.
struct ChatTemplate {
  private let nodes: [ChatTemplateNode]
  /// Names such as `bos_token` and their texts.
  let tokens: [String: String]

  /// Throws `ChatTemplateError.unsupported` for what this interpreter does not do.
  init(_ text: String, tokens: [String: String]) throws(ChatTemplateError) {
    nodes = try ChatTemplateParser.parse(text)
    self.tokens = tokens
  }

  /// The prompt of a conversation, as `apply_chat_template` of transformers makes it; but the
  /// template gets no function for the time of day.
  func render(
    _ messages: [ChatMessage], addGenerationPrompt: Bool
  ) throws(ChatTemplateError) -> String {
    var variables: [String: ChatTemplateValue] = [:]
    for (name, text) in tokens { variables[name] = .text(text) }
    variables["messages"] = .list(
      messages.map {
        .map([("role", .text($0.role.rawValue)), ("content", .text($0.content))])
      })
    variables["add_generation_prompt"] = .bool(addGenerationPrompt)
    variables["tools"] = ChatTemplateValue.none
    variables["documents"] = ChatTemplateValue.none
    var renderer = ChatTemplateRenderer(variables)
    return try renderer.render(nodes)
  }
}
