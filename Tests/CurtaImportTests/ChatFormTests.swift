// Forms of published templates: their parts, and that they write what jinja2 writes.
// SPDX-License-Identifier: Apache-2.0

import CurtaTestSupport
import Foundation
import Testing

@testable import CurtaImport

@Suite struct ChatFormTests {
  private func form(_ name: String) throws -> ChatForm {
    let published = try #require(PublishedTemplate.all.first { $0.name == name })
    return try #require(published.outcome.form, "\(published.outcome.note ?? "")")
  }

  /// Conversations that end with the user, rendered by jinja2, against the form.
  @Test(arguments: PublishedTemplate.all.filter { $0.name != "numbered" })
  func writesWhatTheTemplateWrites(_ published: PublishedTemplate) throws {
    let outcome = published.outcome
    let form = try #require(outcome.form, "\(outcome.note ?? "")")
    var compared = 0
    for (index, messages) in PublishedTemplate.conversations.enumerated() {
      guard messages.last?.role == .user, let expected = published.rendered[2 * index] else {
        continue
      }
      let hasSystem = messages[0].role == .system
      if hasSystem, form.systemPlace == .none { continue }
      // A template may trim system and user text together, or trim only one side.
      let spaced = messages[0].content.hasPrefix(" ")
      if spaced, published.name == "llama-2" { continue }
      #expect(form.render(messages)! == expected, "\(messages)")
      compared += 1
    }
    #expect(compared >= 3)
  }

  @Test func partsAreWhatTheyShould() throws {
    let smol = try form("smollm2")
    #expect(smol.begin == "" && smol.systemPlace == .turn && smol.trims == 0)
    #expect(
      smol.systemStandard == "You are a helpful AI assistant named SmolLM, trained by Hugging Face")
    #expect(smol.systemPrefix == "<|im_start|>system\n" && smol.systemSuffix == "<|im_end|>\n")
    #expect(smol.userPrefix == "<|im_start|>user\n" && smol.userSuffix == "<|im_end|>\n")
    #expect(
      smol.assistantPrefix == "<|im_start|>assistant\n" && smol.generation == smol.assistantPrefix)
    #expect(smol.assistantSuffix == "<|im_end|>\n" && smol.stop == "<|im_end|>")

    let chatml = try form("chatml")
    #expect(chatml.systemStandard == nil && chatml.systemPlace == .turn)
    #expect(chatml.userPrefix == smol.userPrefix && chatml.generation == smol.generation)

    let llama2 = try form("llama-2")
    #expect(llama2.begin == "" && llama2.systemPlace == .firstUser && llama2.trims & 1 == 1)
    #expect(llama2.userPrefix == "<s>[INST] " && llama2.userSuffix == " [/INST]")
    #expect(llama2.systemPrefix == "<<SYS>>\n" && llama2.systemSuffix == "\n<</SYS>>\n\n")
    #expect(llama2.assistantPrefix == " " && llama2.assistantSuffix == " </s>")
    #expect(llama2.generation == "" && llama2.stop == "</s>")

    for name in ["llama-3", "llama-3-first"] {
      let llama3 = try form(name)
      #expect(llama3.begin == "<|begin_of_text|>" && llama3.systemPlace == .turn)
      #expect(llama3.userPrefix == "<|start_header_id|>user<|end_header_id|>\n\n")
      #expect(
        llama3.assistantSuffix == "<|eot_id|>" && llama3.stop == "<|eot_id|>" && llama3.trims == 7)
    }
    let llama32 = try form("llama-3.2")
    #expect(llama32.systemStandard == "" && llama32.begin == "<|begin_of_text|>")
    #expect(
      llama32.systemPrefix.hasSuffix("Today Date: 26 Jul 2024\n\n")
        && llama32.systemSuffix == "<|eot_id|>")

    let mistral = try form("mistral-0.2")
    #expect(mistral.begin == "<s>" && mistral.systemPlace == .none && mistral.stop == "</s>")
    #expect(mistral.userPrefix == "[INST] " && mistral.userSuffix == " [/INST]")

    let gemma2 = try form("gemma-2")
    #expect(gemma2.begin == "<bos>" && gemma2.systemPlace == .none && gemma2.trims == 3)
    #expect(gemma2.generation == "<start_of_turn>model\n" && gemma2.stop == "<end_of_turn>")
    let gemma3 = try form("gemma-3")
    #expect(
      gemma3.systemPlace == .firstUser && gemma3.systemPrefix == "" && gemma3.systemSuffix == "\n\n"
    )

    let zephyr = try form("zephyr")
    #expect(zephyr.systemPlace == .turn && zephyr.stop == "</s>" && zephyr.begin == "")
    let phi = try form("phi-3")
    #expect(phi.systemPlace == .turn && phi.stop == "<|end|>" && phi.userSuffix == "<|end|>\n")
  }

  @Test func whatCannotBeExpressedIsSaid() throws {
    let numbered = try #require(PublishedTemplate.all.first { $0.name == "numbered" })
    #expect(numbered.outcome.form == nil)
    #expect(numbered.outcome.note?.contains("change") == true, "\(numbered.outcome)")
    let last = try #require(PublishedTemplate.all.first { $0.name == "mistral-0.3" })
    #expect(last.outcome.form?.systemPlace == ChatForm.SystemPlace.none)
    #expect(last.outcome.note?.contains("no system message") == true)
    let gemma = try #require(PublishedTemplate.all.first { $0.name == "gemma-2" })
    #expect(gemma.outcome.note?.contains("System role not supported") == true)
    for (text, word) in [
      ("{% include 'x' %}", "line 1: {% include %}"), ("no message", "once and as it is"),
      ("{{ messages[0].content | upper }}", "once and as it is"),
      ("{{ raise_exception('never') }}", "raises \"never\""),
      (
        "{% if messages|length > 5 %}x{% endif %}{% for m in messages %}<{{ m.role }}>{{ m.content }}\n{% endfor %}",
        "change"
      ),
    ] {
      let outcome = ChatFormCompiler.compile(text, tokens: [:])
      #expect(outcome.form == nil && outcome.note?.contains(word) == true, "\(outcome.note ?? "")")
    }
  }

  @Test(arguments: PublishedTemplate.all)
  func metadataHoldsIt(_ published: PublishedTemplate) {
    guard let form = published.outcome.form else { return }
    #expect(ChatForm(integers: form.integerEntries, texts: form.textEntries) == form)
    var wrong = form.integerEntries
    wrong["chat.form"] = 2
    #expect(ChatForm(integers: wrong, texts: form.textEntries) == nil)
    wrong = form.integerEntries
    wrong["chat.system"] = 3
    #expect(ChatForm(integers: wrong, texts: [:]) == nil)
    #expect(ChatForm(integers: [:], texts: form.textEntries) == nil)
  }

  @Test func foldersHaveTemplates() throws {
    let smol = try #require(PublishedTemplate.all.first { $0.name == "smollm2" })
    func quoted(_ text: String) -> String {
      String(decoding: try! JSONEncoder().encode(text), as: UTF8.self)
    }
    try withTemporaryFolder { folder in
      func write(_ name: String, _ text: String) throws {
        try Data(text.utf8).write(to: folder.appendingPathComponent(name))
      }
      #expect(try chatForm(folder: folder.path) == ChatFormOutcome(form: nil, note: nil))
      try write("tokenizer_config.json", "{\"chat_template\": \(quoted(smol.text))}")
      #expect(try chatForm(folder: folder.path).form == smol.outcome.form)
      try write(
        "tokenizer_config.json",
        """
        {"bos_token": {"content": "<s>"}, "eos_token": "</s>", "add_bos_token": true,
         "chat_template": [{"name": "tool_use", "template": "x"},
           {"name": "default", "template": "{{ bos_token }}{% for m in messages %}{{ m.content + eos_token }}{% endfor %}"}]}
        """)
      let named = try #require(chatForm(folder: folder.path).form)
      #expect(named.begin == "<s>" && named.assistantSuffix == "</s>")
      try write("chat_template.jinja", smol.text)
      #expect(try chatForm(folder: folder.path).form == smol.outcome.form)
    }
  }
}
