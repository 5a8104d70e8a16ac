// The template interpreter against jinja2 as transformers uses it, and the forms made with it.
// SPDX-License-Identifier: Apache-2.0

import CurtaTestSupport
import Foundation
import Testing

@testable import CurtaImport

/// The templates of `Reference/chat` with what jinja2 made of them.
struct PublishedTemplate: CustomStringConvertible, Sendable {
  let name: String
  let text: String
  let tokens: [String: String]
  /// For each conversation: with and without the prompt to answer; nil where it raised.
  let rendered: [String?]

  var description: String { name }

  static let folder = Repository.root.path + "/Tests/CurtaImportTests/Reference/chat"

  private static let expected: StrictJSON? = try? StrictJSON.file(folder + "/expected.json")

  static let conversations: [[ChatMessage]] = (expected?["conversations"]?.array ?? []).map {
    ($0.array ?? []).map {
      ChatMessage(.init(rawValue: $0["role"]?.text ?? "")!, $0["content"]?.text ?? "")
    }
  }

  static let all: [PublishedTemplate] = (expected?["templates"]?.object ?? [:]).map { name, value in
    PublishedTemplate(
      name: name,
      text: (try? String(contentsOfFile: folder + "/\(name).jinja", encoding: .utf8)) ?? "",
      tokens: (value["tokens"]?.object ?? [:]).compactMapValues(\.text),
      rendered: (value["rendered"]?.array ?? []).map(\.text))
  }.sorted { $0.name < $1.name }

  var outcome: ChatFormOutcome { ChatFormCompiler.compile(text, tokens: tokens) }
}

@Suite struct ChatTemplateTests {
  @Test func thereAreTemplates() {
    #expect(PublishedTemplate.all.count >= 16 && PublishedTemplate.conversations.count >= 10)
  }

  @Test(arguments: PublishedTemplate.all)
  func rendersAsJinja(_ published: PublishedTemplate) throws {
    let template = try ChatTemplate(published.text, tokens: published.tokens)
    let conversations = PublishedTemplate.conversations
    try #require(published.rendered.count == 2 * conversations.count)
    for (index, expected) in published.rendered.enumerated() {
      let messages = conversations[index / 2]
      let text = try rendered(template, messages, ask: index % 2 == 0)
      #expect(
        text.map { Array($0.utf8) } == expected.map { Array($0.utf8) }, "conversation \(index / 2)")
    }
  }

  /// Nil where the template raised.
  private func rendered(
    _ template: ChatTemplate, _ messages: [ChatMessage], ask: Bool
  ) throws(ChatTemplateError) -> String? {
    do throws(ChatTemplateError) {
      return try template.render(messages, addGenerationPrompt: ask)
    } catch {
      if case .raised = error { return nil }
      throw error
    }
  }

  /// Constructs, and what jinja2 3.1.6 gives for them.
  @Test(
    arguments: [
      ("{{ 1 + 2 * 3 - 4 // 3 }} {{ 7 % 3 }} {{ -2 }}", "6 1 -2"),
      ("{{ 'a' ~ 1 ~ none ~ true ~ nothing }}", "a1NoneTrue"),
      ("{% set x = 1 %}{% for i in [1, 2] %}{% set x = x + i %}{{ x }}{% endfor %}{{ x }}", "231"),
      (
        "{% set n = namespace(x=1) %}{% for i in range(3) %}{% set n.x = n.x + i %}{% endfor %}{{ n.x }}",
        "4"
      ),
      ("{% for a in [] %}x{% else %}none{% endfor %}", "none"),
      (
        "{% for k, v in {'b': 1, 'a': 2}.items() %}{{ k }}{{ v }}{{ ',' if not loop.last }}{% endfor %}",
        "b1,a2"
      ),
      (
        "{% for i in range(9) if i % 2 %}{% if i == 7 %}{% break %}{% endif %}{{ i }}{{ loop.index }}{% endfor %}",
        "113253"
      ),
      (
        "{{ [1, 2, 3][1:] | length }}{{ 'abcdef'[::-2] }}{{ [1, 2, 3][-1] }}{{ 'abc'[5:] }}",
        "2fdb3"
      ),
      (
        "{{ 'x' in 'axb' }} {{ 2 not in [1] }} {{ 'k' in {'k': 1} }} {{ 1 < 2 <= 2 }}",
        "True True True True"
      ),
      (
        "{{ x is defined }} {{ x is not defined }} {{ 'a' is string }} {{ none is none }} {{ 4 is divisibleby 2 }}",
        "False True True True True"
      ),
      ("{{ x | default('d') }} {{ '' | default('e', true) }} {{ ' a ' | trim }}|", "d e a|"),
      ("{{ {'a': [1, 'x\\n', none, true]} | tojson }}", "{\"a\": [1, \"x\\n\", null, true]}"),
      ("a\n  {% if true %}\n  b\n  {% endif %}\nc\n", "a\n  b\nc"),
      ("a\n  {%- if true -%}\n  b\n  {%- endif %}\nc\n\n", "abc\n"),
      ("{# c #}\nx {# d -#}  \n y{{- ' z ' -}} \n!", "x y z !"),
      ("  {{ 'a' }}\n  {%+ if 1 %}b{% endif %}", "  a\n  b"),
      (
        "{% macro m(a, b='q') %}[{{ a }}{{ b }}]{% endmacro %}{{ m(1) }}{{ m('x', b=2) }}",
        "[1q][x2]"
      ),
      ("{% set t %}a{{ 1 }}{% endset %}{{ t ~ t }}", "a1a1"),
      ("{{ 'a' 'b' }}{{ \"\\u00e9\\x41\\t\\q\" }}", "ab\u{E9}A\t\\q"),
      ("{{ [{'r': 'u'}, {'r': 'v'}] | selectattr('r', 'equalto', 'v') | list | length }}", "1"),
      (
        "{{ 'a,b,,c'.split(',') | join('-') }}{{ 'aXbX'.replace('X', '.') }}{{ 'ab cd'.title() }}",
        "a-b--ca.b.Ab Cd"
      ),
      (
        "{{ (messages | map(attribute='role') | list)[0] }}{{ messages[0].get('x', 'y') }}", "usery"
      ),
      ("{{ 1 if false }}{{ 'b' if not x else 'c' }}{{ (true and 0) or 'd' }}", "bd"),
      ("{{ '{%' }}{{ '}}' }}{{ {'a': {'b': 3}}['a'].b }}", "{%}}3"),
    ])
  func constructs(_ text: String, _ expected: String) throws {
    let template = try ChatTemplate(text, tokens: [:])
    #expect(try template.render([ChatMessage(.user, "u")], addGenerationPrompt: false) == expected)
  }

  /// What is wrong, or not done, is refused: never guessed, never without end.
  @Test(arguments: [
    "{% include 'x' %}", "{% raw %}{% endraw %}", "{% for x in y %}", "{{ x", "{% endif %}",
    "{{ 1 / 2 }}",
    "{{ 'a' + 1 }}", "{{ x.y.z }}", "{{ x() }}", "{{ 1.5 }}", "{{ 'a' | nofilter }}",
    "{{ 1 is nothing }}",
    "{{ [1] }}", "{{ 'a }}", "{{ 1 2 }}", "{{ range(99999999) }}", "{% set x.y = 1 %}",
    "{{ 'a'.encode() }}",
    "{% for a in range(1000) %}{% for b in range(1000) %}{{ b }}{% endfor %}{% endfor %}",
    "{% set n = namespace(t='x') %}{% for i in range(60) %}{% set n.t = n.t ~ n.t %}{{ n.t }}{% endfor %}",
    "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "{{ strftime_now('%Y') }}", "{{ 1 % 0 }}",
    "{# x",
    "{% if %}{% endif %}", "{% elif x %}",
  ])
  func refused(_ text: String) throws {
    #expect(throws: ChatTemplateError.self) {
      try ChatTemplate(text, tokens: [:]).render(
        [ChatMessage(.user, "u")], addGenerationPrompt: true)
    }
  }

  @Test func deepTemplatesAreRefused() {
    for text in [
      "{{ " + String(repeating: "(", count: 5000) + "1" + String(repeating: ")", count: 5000)
        + " }}",
      "{{ " + String(repeating: "not ", count: 5000) + "1 }}",
      "{{ " + String(repeating: "-", count: 5000) + "1 }}",
      String(repeating: "{% if 1 %}", count: 5000) + String(repeating: "{% endif %}", count: 5000),
      "{{ x" + String(repeating: "|trim", count: 100_000) + " }}",
      "{{ 1" + String(repeating: "+1", count: 100_000) + " }}",
    ] {
      #expect(throws: ChatTemplateError.self) {
        try ChatTemplate(text, tokens: [:]).render([], addGenerationPrompt: true)
      }
    }
  }

  /// Mutated templates never trap.
  @Test func mutations() {
    var random = SeededRandom.announced("templates")
    for round in 0..<1500 {
      let published = random.element(PublishedTemplate.all)
      var bytes = Array(published.text.utf8)
      for _ in 0...random.below(4) {
        let at = random.below(bytes.count)
        switch random.below(4) {
        case 0: bytes.remove(at: at)
        case 1: bytes.insert(random.element(Array("{}%()[]'\"|.:-+~ x1".utf8)), at: at)
        case 2: bytes.swapAt(at, random.below(bytes.count))
        default: bytes.removeSubrange(at..<min(bytes.count, at + random.below(20)))
        }
      }
      let text = String(decoding: bytes, as: UTF8.self)
      if round % 10 == 0 {
        _ = ChatFormCompiler.compile(text, tokens: published.tokens)
      } else if let template = try? ChatTemplate(text, tokens: published.tokens) {
        _ = try? template.render(
          [ChatMessage(.system, "s"), ChatMessage(.user, "u")], addGenerationPrompt: true)
      }
    }
  }
}
