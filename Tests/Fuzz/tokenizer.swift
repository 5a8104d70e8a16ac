// Fuzz target: tokenizer.json and SentencePiece's tokenizer.model.
// SPDX-License-Identifier: Apache-2.0

import Foundation

@testable import CurtaImport

private let json = MemoryFile("tokenizer.json")
private let model = MemoryFile("tokenizer.model")

/// Small tokenizers of every kind.
private let seeds: [[UInt8]] = {
  guard let words = try? Repository.bytes("Examples/models/curta-sort/tokenizer.json") else {
    fatalError("no tokenizer of curta-sort")
  }
  let added = """
    [{"id":0,"content":"<s>","special":true,"normalized":false,"lstrip":false,"rstrip":false,
      "single_word":false}]
    """
  let byteLevel = """
    {"added_tokens":\(added),"normalizer":{"type":"NFC"},"pre_tokenizer":{"type":"ByteLevel",
     "add_prefix_space":false,"use_regex":true},"decoder":{"type":"ByteLevel"},
     "model":{"type":"BPE","vocab":{"<s>":0,"a":1,"b":2,"ab":3},"merges":["a b"]}}
    """
  let pieces = """
    {"added_tokens":\(added),"normalizer":{"type":"Replace","pattern":{"String":" "},
     "content":"▁"},"decoder":{"type":"Metaspace","replacement":"▁","prepend_scheme":"first"},
     "model":{"type":"BPE","byte_fallback":true,"fuse_unk":true,"unk_token":"<s>",
     "vocab":{"<s>":0,"▁":1,"a":2,"▁a":3,"<0x41>":4},"merges":[["▁","a"]]}}
    """
  let unigram = """
    {"added_tokens":\(added),"pre_tokenizer":{"type":"Metaspace","replacement":"▁",
     "prepend_scheme":"always","split":true},"decoder":{"type":"Metaspace","replacement":"▁"},
     "model":{"type":"Unigram","unk_id":0,"byte_fallback":false,
     "vocab":[["<s>",0.0],["▁",-2.5],["a",-3.25],["▁a",-4.0]]}}
    """
  let wordPiece = """
    {"added_tokens":\(added),"normalizer":{"type":"BertNormalizer","clean_text":true,
     "handle_chinese_chars":true,"strip_accents":null,"lowercase":true},
     "pre_tokenizer":{"type":"BertPreTokenizer"},"decoder":{"type":"WordPiece","prefix":"##",
     "cleanup":false},"model":{"type":"WordPiece","unk_token":"<s>",
     "continuing_subword_prefix":"##","max_input_chars_per_word":100,
     "vocab":{"<s>":0,"a":1,"##b":2}}}
    """
  return [words] + [byteLevel, pieces, unigram, wordPiece].map { Array($0.utf8) }
}()

/// A SentencePiece model of three pieces: <unk>, ▁ and a.
private let pieces: [UInt8] = {
  func piece(_ text: String, score: [UInt8], type: UInt8) -> [UInt8] {
    let body = [0x0A, UInt8(text.utf8.count)] + Array(text.utf8) + [0x15] + score + [0x18, type]
    return [0x0A, UInt8(body.count)] + body
  }
  return piece("<unk>", score: [0, 0, 0, 0], type: 2)
    + piece("▁", score: [0, 0, 0x80, 0xBF], type: 1)
    + piece("a", score: [0, 0, 0, 0xC0], type: 1) + [0x12, 2, 0x18, 2]
}()

@c(LLVMFuzzerTestOneInput)
public func fuzzTokenizer(_ data: UnsafePointer<UInt8>?, _ size: Int) -> Int32 {
  let bytes = UnsafeRawBufferPointer(start: data, count: size)
  let isModel = size > 0 && bytes[0] == 0x0A && !bytes.contains(UInt8(ascii: "{"))
  let file = isModel ? model : json
  file.fill(bytes)
  do throws(ImportError) {
    let section = try tokenizerSection(
      from: isModel ? .sentencePiece(model: file.path) : .huggingFace(json: file.path))
    guard !section.isEmpty else { fatalError("a tokenizer without a section") }
  } catch {
    guard !error.description.isEmpty else { fatalError("an error without a text") }
  }
  return 0
}

@c(LLVMFuzzerCustomMutator)
public func mutateTokenizer(
  _ data: UnsafeMutablePointer<UInt8>?, _ size: Int, _ most: Int, _ seed: UInt32
) -> Int {
  guard let data else { return 0 }
  var random = SeededRandom(UInt64(seed))
  var text = [UInt8](UnsafeBufferPointer(start: data, count: size))
  if size < 16 || random.chance(16) { text = random.chance(4) ? pieces : random.element(seeds) }
  if random.chance(3) || text.first == 0x0A {
    let count = replace(data, most, with: text)
    return libFuzzerMutate(data, count, most)
  }
  return replace(data, most, with: mutateJSON(text, &random))
}
