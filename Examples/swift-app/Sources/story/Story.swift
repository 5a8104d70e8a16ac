// Runs a .curta language model from Swift: plan, one allocation, prompt, answer.
// usage: story MODEL.curta [PROMPT] [TOKENS] [SEED]
// SPDX-License-Identifier: Apache-2.0

import CCurta
import CurtaRuntime
import Glibc

/// A status of `curta.h` other than OK, and the call that gave it.
struct Failure: Error {
  let status: curta_status
  let call: String
}

func check(_ status: curta_status, _ call: String) throws(Failure) {
  guard status == 0 else { throw Failure(status: status, call: call) }
}

/// A file's bytes in memory aligned to 64 bytes.
func read(_ path: String) -> UnsafeRawBufferPointer? {
  guard let file = fopen(path, "rb") else { return nil }
  defer { fclose(file) }
  fseek(file, 0, SEEK_END)
  let size = ftell(file)
  rewind(file)
  let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: size, alignment: 64)
  guard fread(bytes.baseAddress, 1, size, file) == size else { return nil }
  return UnsafeRawBufferPointer(bytes)
}

/// A session that owns its arena.
final class Story {
  private let arena: UnsafeMutableRawBufferPointer
  private let session: OpaquePointer
  private let plan: curta_plan_info

  init(_ file: UnsafeRawBufferPointer) throws(Failure) {
    var options = curta_default_options()
    var plan = curta_plan_info()
    plan.struct_size = UInt32(MemoryLayout<curta_plan_info>.size)
    try check(curta_plan(file.baseAddress, file.count, &options, &plan), "plan")
    arena = .allocate(byteCount: Int(plan.arena_bytes), alignment: 64)
    var session: OpaquePointer?
    let status = curta_session_init(
      file.baseAddress, file.count, &options, arena.baseAddress, arena.count, &session)
    guard status == 0, let session else {
      arena.deallocate()
      throw Failure(status: status, call: "session")
    }
    self.session = session
    self.plan = plan
  }

  deinit { arena.deallocate() }

  /// Feeds the prompt and writes up to `count` tokens after it to the standard output.
  func tell(_ prompt: String, count: Int, seed: UInt64) throws(Failure) {
    let tokens = try encode(prompt)
    for token in tokens { try show(token) }
    for start in stride(from: 0, to: tokens.count, by: Int(plan.chunk)) {
      let part = Array(tokens[start..<min(tokens.count, start + Int(plan.chunk))])
      try check(curta_step(session, part, part.count, 1), "step")
    }
    var sampling = curta_sampling()
    sampling.struct_size = UInt32(MemoryLayout<curta_sampling>.size)
    sampling.temperature = 45875  // 0.7
    sampling.top_k = 40
    curta_seed(session, seed)
    for _ in 0..<count where curta_past(session) < Int(plan.context) {
      var token: Int32 = 0
      try check(curta_sample(session, &sampling, &token), "sample")
      if curta_is_end(session, token) != 0 { break }
      try show(token)
      try check(curta_step(session, &token, 1, 1), "step")
    }
    write(STDOUT_FILENO, "\n", 1)
  }

  private func encode(_ text: String) throws(Failure) -> [Int32] {
    let bytes = text.utf8.map { CChar(bitPattern: $0) }
    let scratchSize = curta_encode_scratch(session, bytes.count)
    let scratch = UnsafeMutableRawPointer.allocate(byteCount: scratchSize + 1, alignment: 8)
    defer { scratch.deallocate() }
    var tokens = [Int32](repeating: 0, count: bytes.count + 2)
    var count = 0
    try check(
      curta_encode(
        session, bytes, bytes.count, &tokens, tokens.count, &count, scratch, scratchSize),
      "encode")
    return Array(tokens.prefix(count))
  }

  private func show(_ token: Int32) throws(Failure) {
    var text = [CChar](repeating: 0, count: 4096)
    var size = 0
    try check(curta_decode(session, token, &text, text.count, &size), "decode")
    write(STDOUT_FILENO, text, size)
  }
}

@main
enum Main {
  static func main() {
    let arguments = CommandLine.arguments
    guard arguments.count >= 2 else {
      print("usage: story MODEL.curta [PROMPT] [TOKENS] [SEED]")
      exit(64)
    }
    guard let file = read(arguments[1]) else {
      perror(arguments[1])
      exit(1)
    }
    do throws(Failure) {
      try Story(file).tell(
        arguments.count > 2 ? arguments[2] : "Once upon a time",
        count: arguments.count > 3 ? Int(arguments[3]) ?? 100 : 100,
        seed: arguments.count > 4 ? UInt64(arguments[4]) ?? 0 : 0)
    } catch {
      print("error: \(error.call): status \(error.status); see Formats/registry.tsv")
      exit(2)
    }
  }
}
