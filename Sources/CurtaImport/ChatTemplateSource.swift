// Where the chat template of a checkpoint is: a Hugging Face folder, or the metadata of a GGUF file.
// SPDX-License-Identifier: Apache-2.0

import Foundation

/// The chat form of a Hugging Face folder.
///
/// The template is `chat_template.jinja`, else `chat_template` of tokenizer_config.json; of several,
/// the one named "default". No template, no outcome.
func chatForm(folder: String) throws(ImportError) -> ChatFormOutcome {
  let path = folder + "/tokenizer_config.json"
  var tokens: [String: String] = [:]
  var text: String?
  var read: [String] = []
  let files = FileManager.default
  for name in ["/special_tokens_map.json", "/tokenizer_config.json"]
  where files.fileExists(atPath: folder + name) {
    read.append(folder + name)
    let settings = try StrictJSON.file(folder + name, refusingDuplicates: false)
    for (name, value) in settings.object ?? [:] where name.hasSuffix("_token") {
      if let token = value.text ?? value["content"]?.text { tokens[name] = token }
    }
    text = defaultTemplate(settings["chat_template"]) ?? text
  }
  let own = folder + "/chat_template.jinja"
  if files.fileExists(atPath: own) {
    read.append(own)
    let file = try MappedFile(own)
    text = try file.withBytes(at: 0, count: file.count, of: "template") {
      String(decoding: $0, as: UTF8.self)
    }
  } else if text == nil {
    return ChatFormOutcome(form: nil, note: nil)
  }
  guard let text else {
    return ChatFormOutcome(form: nil, note: "\(path): none of the chat templates is the default")
  }
  var outcome = ChatFormCompiler.compile(text, tokens: tokens)
  if outcome.form != nil { outcome.files = read }
  return outcome
}

/// A template, or the one named "default" of a list.
private func defaultTemplate(_ value: StrictJSON?) -> String? {
  if let text = value?.text { return text }
  return value?.array?.first { $0["name"]?.text == "default" }?["template"]?.text
}

/// The chat form of a GGUF file: `tokenizer.chat_template`.
func chatForm(gguf file: GGUFFile) throws(ImportError) -> ChatFormOutcome {
  guard let text = try file.text("tokenizer.chat_template") else {
    return ChatFormOutcome(form: nil, note: nil)
  }
  var tokens: [String: String] = [:]
  let texts = try file.strings(GGUFTokenizer.tokensKey, limit: GGUFTokenizer.tokenLimit) ?? []
  for name in ["bos", "eos", "unknown", "padding"] where !texts.isEmpty {
    let key = "tokenizer.ggml.\(name)_token_id"
    guard file.metadata[key] != nil else { continue }
    let id = try file.integer(key, in: 0...texts.count - 1)
    let jinja = name == "unknown" ? "unk" : name == "padding" ? "pad" : name
    tokens[jinja + "_token"] = String(decoding: texts[id], as: UTF8.self)
  }
  return ChatFormCompiler.compile(text, tokens: tokens)
}
