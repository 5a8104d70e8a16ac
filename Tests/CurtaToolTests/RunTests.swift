// `curta run`: prompts, stop strings, events, saved sessions.
// SPDX-License-Identifier: Apache-2.0

import CurtaTestSupport
import Foundation
import Testing

/// Calls `body` with the path of a converted tiny model, and the folder it is in.
func withTinyModel(
  context: Int = 96, seed: UInt64 = 1, _ body: (String, URL) throws -> Void
) throws {
  try withTemporaryFolder { folder in
    var tiny = TinyCheckpoint()
    tiny.context = context
    tiny.seed = seed
    let source = try tiny.write(to: folder)
    let path = folder.appendingPathComponent("tiny.curta").path
    let result = try Tool.run("convert", source, "-o", path, "--recipe", "w8")
    #expect(result.status == 0, "\(result.errors)")
    try body(path, folder)
  }
}

extension ToolResult {
  /// The lines of the output as JSON objects.
  var events: [[String: Any]] {
    output.split(separator: "\n").compactMap {
      (try? JSONSerialization.jsonObject(with: Data($0.utf8))) as? [String: Any]
    }
  }
}

@Suite struct RunTests {
  private let flags = ["-n", "40", "--temp", "0.9", "--seed", "7", "--ignore-end"]

  @Test func promptsComeFromAnywhere() throws {
    try withTinyModel { path, _ in
      let expected = try Tool.run(["run", path, "-p", "the hand"] + flags)
      #expect(expected.status == 0)
      for (arguments, input) in [
        ([], "the hand"), ([], "the hand\n"), (["-p", "-"], "the hand\r\n"),
      ] as [([String], String)] {
        let result = try Tool.run(["run", path] + arguments + flags, input: input)
        #expect(result.output == expected.output && result.status == 0)
      }
      let two = try Tool.run(["run", path] + flags, input: "the\nhand\n\n")
      #expect(two.output.hasPrefix("the\nhand\n"))
      // Nothing there: as an empty prompt.
      #expect(
        try Tool.run(["run", path] + flags).output
          == Tool.run(["run", path, "-p", ""] + flags).output)
      let bad = try Tool.run(["run", path] + flags, bytes: [0x61, 0xFF])
      #expect(bad.status == 1 && bad.errors.contains("not UTF-8"))
    }
  }

  /// Weights that are brought anew take less memory and change nothing. Stored ones of 6 bits take
  /// none at all.
  @Test func lessMemoryGivesTheSame() throws {
    try withTemporaryFolder { folder in
      var tiny = TinyCheckpoint()
      tiny.layers = 6
      let source = try tiny.write(to: folder)
      let path = folder.appendingPathComponent("tiny.curta").path
      for codec in ["stored", "zstd", "lz4"] {
        let made = try Tool.run("convert", source, "-o", path, "--recipe", "w6", "--codec", codec)
        #expect(made.status == 0, "\(made.errors)")
        let arguments = ["run", path, "-p", "the hand", "--logits-hash"] + flags
        let expected = try Tool.run(arguments)
        var last = Int.max
        for memory in [[], ["--weights", "60K"], ["--stream"]] {
          let result = try Tool.run(arguments + memory)
          #expect(result.output == expected.output && result.status == 0, "\(result.errors)")
          let plan = try Tool.run(["plan", path, "--json"] + memory)
          let weights = try #require(plan.json["weight_bytes"] as? Int)
          #expect(codec == "stored" ? weights == 0 : weights < last, "\(codec) \(memory)")
          last = weights
        }
      }
    }
  }

  @Test func timingsAreNoted() throws {
    try withTinyModel { path, _ in
      let result = try Tool.run(["run", path, "-p", "the"] + flags)
      for word in [
        "load in", "prompt ", "decode 40 tokens", "tokens/s", "arena ", "ended by count",
      ] {
        #expect(result.errors.contains(word), "\(word)")
      }
    }
  }

  /// Every text in the middle of what the model writes, as a stop string.
  @Test func stopStringsAreNeverPrinted() throws {
    try withTinyModel { path, _ in
      let bare = ["run", path, "-p", "the", "--no-echo"] + flags
      let whole = try Tool.run(bare).output.dropLast()
      try #require(whole.count > 30)
      for (start, length) in [(3, 1), (10, 2), (5, 5), (17, 9), (whole.count - 4, 4)] {
        let from = whole.index(whole.startIndex, offsetBy: start)
        let stop = String(whole[from..<whole.index(from, offsetBy: length)])
        let first = whole.firstRange(of: stop)!.lowerBound
        let result = try Tool.run(bare + ["--stop", "no such text", "--stop", stop])
        #expect(result.output == String(whole[..<first]) + "\n", "\(stop.debugDescription)")
        #expect(result.errors.contains("ended by stop"))
        let json = try Tool.run(bare + ["--stop", stop, "--json"])
        let text = json.events.compactMap { $0["text"] as? String }.joined()
        #expect(text == String(whole[..<first]))
        #expect(json.events.last?["stop_text"] as? String == stop)
        #expect(json.events.last?["tail"] as? String == "")
      }
      let none = try Tool.run(bare + ["--stop", "no such text"])
      #expect(none.output == whole + "\n")
    }
  }

  @Test func eventsHaveTheirKeys() throws {
    try withTinyModel { path, _ in
      let result = try Tool.run(
        "run", path, "-p", "the", "-n", "5", "--ignore-end", "--json", "--hash")
      #expect(result.errors == "" && result.status == 0)
      let events = result.events
      #expect(
        events.map { $0["event"] as? String ?? "" } == [
          "start", "prompt", "token", "token", "token", "token", "token", "end",
        ])
      #expect(
        events[0].keys.sorted() == [
          "arena_bytes", "chunk", "context", "event", "identity", "kernels", "load_seconds",
          "model", "past", "schema", "threads",
        ])
      #expect(events[0]["schema"] as? String == "curta.run/2")
      let plan = try Tool.run("plan", path, "--json")
      #expect(events[0]["identity"] as? String == plan.json["identity"] as? String)
      #expect(events[1].keys.sorted() == ["event", "tokens"])
      #expect(events[2].keys.sorted() == ["event", "text", "token"])
      #expect(
        events[7].keys.sorted() == [
          "arena_bytes", "decode_seconds", "decode_tokens_per_second", "event", "kernels",
          "load_seconds", "logits_sha256", "past", "prompt_seconds", "prompt_tokens",
          "prompt_tokens_per_second", "stop", "tail", "threads", "tokens",
        ])
      let text = events.compactMap { $0["text"] as? String ?? $0["tail"] as? String }.joined()
      let plain = try Tool.run(
        "run", path, "-p", "the", "-n", "5", "--ignore-end", "--no-echo")
      #expect(text + "\n" == plain.output)
    }
  }

  @Test func aSavedSessionGoesOn() throws {
    try withTinyModel { path, folder in
      let saved = folder.appendingPathComponent("a.session").path
      let sampling = ["--temp", "0.9", "--seed", "7", "--ignore-end", "--repeat-penalty", "1.2"]
      let whole = try Tool.run(["run", path, "-p", "the hand", "-n", "40"] + sampling)
      let first = try Tool.run(
        ["run", path, "-p", "the hand", "-n", "15", "--save-session", saved] + sampling)
      #expect(first.errors.contains("saved ") && first.status == 0)
      #expect(
        try FileManager.default.contentsOfDirectory(atPath: folder.path).allSatisfy {
          !$0.contains("partial")
        })
      // The saved random state counts, as no --seed is given.
      let second = try Tool.run(
        [
          "run", path, "-n", "25", "--load-session", saved, "-c", "60", "-t", "2", "--kernels",
          "scalar",
        ]
          + sampling.filter { $0 != "--seed" && $0 != "7" })
      #expect(first.output.dropLast() + second.output == whole.output)
      let more = try Tool.run(
        "run", path, "-p", " in", "-n", "3", "--load-session", saved, "--ignore-end", "--json")
      // The last token of an answer is not stepped.
      let end = try #require(more.events.last)
      let added = [end["prompt_tokens"], end["tokens"], end["past"]].map { $0 as? Int ?? -1 }
      #expect(more.events.first?["past"] as? Int == added[2] - added[1] - added[0] + 1)
    }
  }

  @Test func aSessionOfAnotherModelIsRefused() throws {
    try withTinyModel { path, folder in
      let saved = folder.appendingPathComponent("a.session").path
      _ = try Tool.run("run", path, "-p", "the", "-n", "4", "--save-session", saved)
      let good = try Data(contentsOf: URL(fileURLWithPath: saved))
      try withTinyModel(seed: 2) { other, _ in
        let result = try Tool.run("run", other, "--load-session", saved)
        #expect(result.status == 2)
        #expect(result.errors.contains("saved with another model. (wrong_model"))
        #expect(result.output == "")
      }
      for (name, bytes, status, word) in [
        ("cut", good.dropLast(3), 2, "truncated"), ("long", good + [1], 2, "bad_layout"),
        ("text", Data(repeating: 0x41, count: 99), 2, "bad_magic"),
        ("empty", Data(), 2, "truncated"),
      ] as [(String, Data, Int32, String)] {
        let bad = folder.appendingPathComponent(name)
        try bytes.write(to: bad)
        let result = try Tool.run("run", path, "--load-session", bad.path)
        #expect(
          result.status == status && result.errors.contains("(\(word), byte "), "\(result.errors)")
      }
      let small = try Tool.run("run", path, "--load-session", saved, "-c", "2")
      #expect(small.status == 1 && small.errors.contains("more tokens than the context"))
      let none = try Tool.run("run", path, "--load-session", folder.path + "/none")
      #expect(none.status == 1 && none.errors.contains("No such file"))
      // A folder that is not there, and one in the way; the run itself is done by then.
      for bad in [folder.path + "/no/x", folder.path] {
        let result = try Tool.run("run", path, "-p", "a", "-n", "1", "--save-session", bad)
        #expect(result.status == 1 && result.errors.contains(bad))
      }
      #expect(try Data(contentsOf: URL(fileURLWithPath: saved)) == good)
    }
  }

  @Test func interruptEndsARun() throws {
    try withTinyModel(context: 4096) { path, _ in
      let result = try Tool.run(
        ["run", path, "-p", "the", "-n", "4000", "--ignore-end", "--json"],
        interruptAfter: #""event":"token""#)
      #expect(result.status == 0)
      #expect(result.events.last?["stop"] as? String == "interrupted")
    }
  }
}
