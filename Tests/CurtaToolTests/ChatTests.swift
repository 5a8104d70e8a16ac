// `curta run --chat`: turns over the standard input, and what the model is given of them.
// SPDX-License-Identifier: Apache-2.0

import CurtaCompile
import CurtaImport
import CurtaQuantize
import CurtaTestSupport
import CurtaWrite
import Foundation
import Testing

/// A tiny model with a chat form; `body` gets its path and folder.
private func withChatModel(
  context: Int = 400, _ form: ChatForm = .test, _ body: (String, URL) throws -> Void
) throws {
  try withTemporaryFolder { folder in
    var tiny = TinyCheckpoint()
    tiny.context = context
    var checkpoint = try loadCheckpoint(tiny.write(to: folder))
    checkpoint.chat = ChatFormOutcome(form: form)
    let path = folder.appendingPathComponent("chat.curta").path
    let contents = try Conversion.contents(checkpoint, name: "chat", recipe: .w8)
    try writeCurta(contents, to: path) { _ in }
    try body(path, folder)
  }
}

extension ChatForm {
  fileprivate static let test: ChatForm = {
    var form = ChatForm()
    form.begin = "<<"
    form.systemPlace = .turn
    form.systemPrefix = "s: "
    form.systemSuffix = "\n"
    form.userPrefix = "u: "
    form.userSuffix = "\n"
    form.generation = "a:"
    form.assistantPrefix = "a:"
    form.assistantSuffix = ";\n"
    return form
  }()

  fileprivate func with<T>(_ path: WritableKeyPath<ChatForm, T>, _ value: T) -> ChatForm {
    var form = self
    form[keyPath: path] = value
    return form
  }
}

extension ToolResult {
  /// Tokens that were fed and made, in order.
  fileprivate var allTokens: [[Int]] {
    var groups: [[Int]] = []
    for event in events {
      if let tokens = event["tokens"] as? [Int] { groups += [tokens, []] }
      if let token = event["token"] as? Int { groups[groups.count - 1].append(token) }
    }
    return groups
  }
}

@Suite struct ChatTests {
  private let flags = ["--chat", "-n", "6", "--temp", "0", "--json"]

  /// Tokens of a text, as a prompt of `curta run`; without the begin token.
  private func tokens(_ path: String, _ text: String) throws -> [Int] {
    let result = try Tool.run("run", path, "-p", text, "-n", "0", "--json")
    return Array((result.events[1]["tokens"] as? [Int] ?? []).dropFirst())
  }

  @Test func turnsAreWrittenAsTheFormSays() throws {
    try withChatModel { path, _ in
      let result = try Tool.run(["run", path] + flags, input: "the hand\n\n  \nin the rain")
      #expect(result.status == 0 && result.errors == "", "\(result.errors)")
      let groups = result.allTokens
      try #require(groups.count == 4)
      #expect(try groups[0] == tokens(path, "<<u: the hand\na:"))
      #expect(try groups[2] == tokens(path, ";\nu: in the rain\na:"))
      #expect(groups[1].count == 6 && groups[3].count > 0)
      #expect(result.events.map { $0["turn"] as? Int ?? 0 }.filter { $0 > 0 } == [1, 1, 2, 2])
      // The second answer is what the model says to all tokens before it: the cache was kept.
      let before = (groups[0] + groups[1] + groups[2]).map(String.init).joined(separator: ",")
      let plain = try Tool.run(
        "run", path, "--tokens", before, "-n", "\(groups[3].count)", "--temp", "0")
      #expect(plain.output == groups[3].map(String.init).joined(separator: ",") + "\n")
      #expect(result.events.last?["past"] as? Int == groups.joined().count)

      let text = try Tool.run(
        "run", path, "--chat", "-n", "6", "--temp", "0", "-p", "the hand")
      let said = result.events.prefix { $0["event"] as? String != "end" }
        .compactMap { $0["text"] as? String }.joined()
      let tail = result.events.first { $0["event"] as? String == "end" }?["tail"] as? String ?? ""
      #expect(text.output == said + tail + "\n")
      #expect(text.errors.contains("tokens/s"))
    }
  }

  @Test func systemMessages() throws {
    try withChatModel(.test.with(\.systemStandard, "on")) { path, _ in
      let standard = try Tool.run(["run", path, "-p", "a"] + flags)
      #expect(try standard.allTokens[0] == tokens(path, "<<s: on\nu: a\na:"))
      let given = try Tool.run(["run", path, "-p", "a", "--system", "the rain"] + flags)
      #expect(try given.allTokens[0] == tokens(path, "<<s: the rain\nu: a\na:"))
    }
    try withChatModel(.test.with(\.systemPlace, .firstUser)) { path, _ in
      let merged = try Tool.run(["run", path, "--system", "x"] + flags, input: "a\nb\n")
      #expect(try merged.allTokens[0] == tokens(path, "<<u: s: x\na\na:"))
      #expect(try merged.allTokens[2] == tokens(path, ";\nu: b\na:"))
    }
    try withChatModel(.test.with(\.systemPlace, .none)) { path, _ in
      let refused = try Tool.run(["run", path, "-p", "a", "--system", "x"] + flags)
      #expect(refused.status == 1 && refused.errors.contains("takes no system message"))
    }
  }

  @Test func commands() throws {
    try withChatModel { path, folder in
      let saved = folder.appendingPathComponent("a b.session").path
      let result = try Tool.run(
        ["run", path] + flags,
        input: "the hand\n/save \(saved)\n/reset\nthe hand\nin\n/load \(saved)\nin\n/quit\nno\n")
      #expect(result.status == 0, "\(result.errors)")
      let groups = result.allTokens
      try #require(groups.count == 8)
      // Anew; and going on after the first turn, as saved.
      #expect(groups[2] == groups[0] && groups[3] == groups[1])
      #expect(groups[6] == groups[4] && groups[7] == groups[5])
      let others = result.events.compactMap { $0["event"] as? String }
        .filter { !["token", "prompt", "end"].contains($0) }
      #expect(others == ["start", "saved", "reset", "loaded"])
      // As options.
      let first = try Tool.run(
        ["run", path, "-p", "the hand", "--save-session", saved] + flags)
      #expect(first.allTokens[1] == groups[1])
      let second = try Tool.run(["run", path, "-p", "in", "--load-session", saved] + flags)
      #expect(second.allTokens[0] == groups[4] && second.allTokens[1] == groups[5])
      for (line, word) in [
        ("/fly", "no command /fly"), ("/save", "needs a file"), ("/load /no/such", "No such file"),
        ("/load \(path)", "not a saved session"),
      ] {
        let wrong = try Tool.run(["run", path, "--chat"], input: line + "\nthe\n")
        #expect(wrong.status != 0 && wrong.errors.contains(word), "\(wrong.errors)")
        #expect(wrong.output == "")
      }
    }
  }

  @Test func answersEndWithTheTurn() throws {
    try withChatModel { path, _ in
      let free = try Tool.run(["run", path, "-p", "the"] + flags + ["-n", "30"])
      let text = free.events.compactMap { $0["text"] as? String }.joined()
      try #require(text.count > 8)
      let stop = String(text.dropFirst(4).prefix(2))
      let end = text.firstRange(of: stop)!.lowerBound
      try withChatModel(.test.with(\.stop, stop)) { path, _ in
        let result = try Tool.run(["run", path] + flags + ["-n", "30"], input: "the\nin\n")
        let events = result.events
        let first = events.firstIndex { $0["event"] as? String == "end" }!
        #expect(events[first]["stop"] as? String == "stop")
        #expect(events[..<first].compactMap { $0["text"] as? String }.joined() == text[..<end])
        // The tokens of the stop string are not in the cache.
        #expect((events[first]["past"] as? Int ?? 999) <= (free.events.last?["past"] as? Int ?? 0))
      }
    }
  }

  @Test func aFullContextIsSaid() throws {
    // With this seed the model does not end by itself.
    let sampling = ["--temp", "0.9", "--seed", "12"]
    try withChatModel(context: 40) { path, _ in
      let result = try Tool.run(
        ["run", path, "--chat", "-n", "100"] + sampling, input: "the hand\nmore\n")
      #expect(result.status == 1)
      #expect(result.errors.contains("the context is full: 40 of 40"), "\(result.errors)")
      #expect(result.errors.contains("/reset"))
      let again = try Tool.run(
        ["run", path, "--chat", "--json", "-n", "100"] + sampling,
        input: "the hand\n/reset\nthe hand\n")
      #expect(again.status == 0)
      let ends = again.events.filter { $0["event"] as? String == "end" }
      #expect(ends.map { $0["stop"] as? String } == ["context", "context"])
      let long = try Tool.run(
        ["run", path, "--chat"], input: String(repeating: "the ", count: 40) + "\n")
      #expect(long.status == 1 && long.errors.contains("this turn needs"))
    }
  }

  @Test func interruptEndsAnAnswer() throws {
    try withChatModel(context: 4096) { path, _ in
      let result = try Tool.run(
        ["run", path, "--chat", "-n", "800", "--temp", "0", "--json"],
        bytes: Array("the\n/reset\nin\n/quit\n".utf8), interruptAfter: #""event":"token""#)
      #expect(result.status == 0)
      let ends = result.events.filter { $0["event"] as? String == "end" }
      // The first answer was ended; the second was made to its end.
      #expect(ends.first?["stop"] as? String == "interrupted")
      #expect(ends.count == 2 && ends.last?["stop"] as? String != "interrupted")
    }
  }

  @Test func withoutAFormThereIsNoChat() throws {
    try withTinyModel { path, _ in
      let result = try Tool.run("run", path, "--chat", "-p", "a")
      #expect(result.status == 1 && result.errors.contains("has no chat form"))
    }
    for arguments in [
      ["--system", "x"], ["--chat", "--tokens", "1"], ["--chat", "-p", "-"], ["--stop", ""],
    ] {
      #expect(try Tool.run(["run", "x"] + arguments).status == 64)
    }
  }

  /// From a folder with a template to a file that has its form, or a note.
  @Test func conversionKeepsTheForm() throws {
    try withTemporaryFolder { folder in
      let model = folder.appendingPathComponent("model")
      try FileManager.default.copyItem(
        at: Repository.root.appendingPathComponent("Examples/models/curta-sort"), to: model)
      let path = folder.appendingPathComponent("sort.curta").path
      for (template, note) in [
        ("{% for m in messages %}{{ m.content + ' : ' }}{% endfor %}", false),
        ("{{ messages | length }}{% for m in messages %}{{ m.content }}{% endfor %}", true),
      ] {
        let settings = ["chat_template": template]
        try JSONSerialization.data(withJSONObject: settings)
          .write(to: model.appendingPathComponent("tokenizer_config.json"))
        let result = try Tool.run("convert", model.path, "-o", path, "--recipe", "w8")
        #expect(result.status == 0)
        #expect(result.errors.contains("chat template: ") == note, "\(result.errors)")
        let metadata = try Tool.run("inspect", path, "--metadata").output
        #expect(metadata.contains("chat.form = 1") != note)
        #expect(try Tool.run("run", path, "--chat", "-p", "3 1 2").status == (note ? 1 : 0))
      }
    }
  }
}
