// The commands on a small model, from the checkpoint to text.
// SPDX-License-Identifier: Apache-2.0

import CurtaTestSupport
import Foundation
import Testing

@Suite struct CommandTests {
  /// Calls `body` with the path of a converted tiny model and its source.
  private func withModel(
    recipe: String = "w8", tokenizer: Bool = true, _ body: (String, String) throws -> Void
  ) throws {
    try withTemporaryFolder { folder in
      let source = try TinyCheckpoint().write(to: folder, tokenizer: tokenizer)
      let path = folder.appendingPathComponent("tiny.curta").path
      let result = try Tool.run("convert", source, "-o", path, "--recipe", recipe)
      #expect(result.status == 0, "\(result.errors)")
      #expect(result.errors == "", "no progress without a terminal")
      try body(path, source)
    }
  }

  /// Without a tokenizer there is no text to calibrate on, which is told.
  @Test(arguments: ["w4", "rtn4"])
  func whatWasCalibratedOnIsTold(recipe: String) throws {
    try withTemporaryFolder { folder in
      let source = try TinyCheckpoint().write(to: folder, tokenizer: false)
      let result = try Tool.run(
        "convert", source, "-o", folder.path + "/tiny.curta", "--recipe", recipe,
        "--calibration-size", "64")
      #expect(result.status == 0)
      #expect(result.errors.contains("note: the checkpoint has no tokenizer") == (recipe == "w4"))
    }
  }

  @Test func convertReportsSizes() throws {
    try withTemporaryFolder { folder in
      let source = try TinyCheckpoint().write(to: folder)
      let path = folder.appendingPathComponent("tiny.curta").path
      let plan = try Tool.run("convert", source, "--recipe", "rtn4", "--dry-run", "--json")
      #expect(plan.status == 0)
      #expect(!FileManager.default.fileExists(atPath: path))
      for codec in ["auto", "stored", "zstd", "lz4"] {
        let result = try Tool.run(
          "convert", source, "-o", path, "--recipe", "rtn4", "--codec", codec, "--json",
          "--progress", "always")
        #expect(result.status == 0)
        #expect(result.errors.contains("100 %") || result.errors.contains("90 %"))
        let size = try FileManager.default.attributesOfItem(atPath: path)[.size] as? Int
        #expect(result.json["file_bytes"] as? Int == size)
        #expect(
          result.json["tensor_decoded_bytes"] as? Int == plan.json["tensor_bytes"] as? Int)
        #expect(result.json["recipe"] as? String == "rtn4")
        let codecs = (result.json["tensors"] as? [[String: Any]] ?? [])
          .flatMap { $0["codecs"] as? [String] ?? [] }
        if codec == "stored" { #expect(Set(codecs) == ["stored"]) }
        if codec == "lz4" { #expect(codecs.contains("lz4") && !codecs.contains("zstd")) }
        #expect(try Tool.run("verify", path).status == 0)
      }
    }
  }

  @Test func runIsTheSameOnEveryPath() throws {
    try withModel { path, _ in
      let flags = ["--prompt", "the hand", "-n", "30", "--temp", "0.9", "--seed", "7"]
      let once = try Tool.run(["run", path] + flags)
      #expect(once.status == 0)
      #expect(once.output.hasPrefix("the hand"))
      #expect(once.errors.contains("tokens/s"))
      for more in [["-t", "2"], ["--chunk", "1"], ["--kernels", "scalar"], ["-c", "64"]] {
        #expect(try Tool.run(["run", path] + flags + more).output == once.output)
      }
      let other = try Tool.run(["run", path] + flags.dropLast() + ["8"])
      #expect(other.output != once.output)
      let bare = try Tool.run(["run", path] + flags + ["--no-echo"])
      #expect("the hand" + bare.output == once.output)
    }
  }

  @Test func runTakesAndGivesTokens() throws {
    try withModel(tokenizer: false) { path, _ in
      let flags = ["run", path, "--tokens", "1,20,300,7", "-n", "12", "--ignore-end"]
      #expect(try Tool.run(flags).status == 1, "token 300 is outside the vocabulary")
      let good = ["run", path, "--tokens", "1,20,299,7", "-n", "12", "--ignore-end"]
      let plain = try Tool.run(good)
      #expect(plain.output.split(separator: ",").count == 12)
      var hashes: Set<Substring> = []
      for chunk in ["1", "3", "64"] {
        let result = try Tool.run(good + ["--logits-hash", "--chunk", chunk])
        let lines = result.output.split(separator: "\n")
        #expect(lines.count == 2 && lines[0] + "\n" == plain.output)
        hashes.insert(lines.last ?? "")
      }
      #expect(hashes.count == 1 && hashes.first?.count == 64)
      #expect(try Tool.run("run", path, "-p", "x").errors.contains("no tokenizer"))
    }
  }

  @Test func aRunEndsWithTheContext() throws {
    try withModel { path, _ in
      let result = try Tool.run(
        "run", path, "-p", "the", "-c", "10", "-n", "50", "--ignore-end", "--json")
      #expect(result.status == 0)
      #expect(result.output.contains(#""stop":"context""#))
      let long = try Tool.run("run", path, "-p", "the hand in the rain", "-c", "3")
      #expect(long.status == 1)
      #expect(long.errors.contains("shorten"))
    }
  }

  @Test func evalHasItsKeys() throws {
    try withModel { path, source in
      let text = path + ".json"
      try Data(#"["the tension in the hand", "no rain on the other side of it"]"#.utf8)
        .write(to: URL(fileURLWithPath: text))
      let result = try Tool.run(
        "eval", path, "--reference", source, "--text", text, "--context", "16", "--stride", "8",
        "--simulate", "--json")
      #expect(result.status == 0, "\(result.errors)")
      for key in [
        "perplexity", "reference_perplexity", "kl_mean", "top1_agreement", "simulation_kl_mean",
        "simulation_perplexity",
      ] {
        #expect(result.json[key] is Double, "\(key)")
      }
      #expect(result.json["tokens"] as? Int ?? 0 > 20)
      let people = try Tool.run(
        "eval", path, "--reference", source, "--text", text, "--tokens", "9")
      let rows = people.output.split(separator: "\n").map { $0.split(separator: " ") }
      #expect(rows.contains(["tokens", "9"]))
      // A text that is no list of strings.
      try Data("{}".utf8).write(to: URL(fileURLWithPath: text))
      #expect(try Tool.run("eval", path, "--reference", source, "--text", text).status == 1)
    }
  }

  @Test func inspectShowsMasks() throws {
    let path = Repository.root.appendingPathComponent("Formats/vectors/valid/masked.curta").path
    let table = try Tool.run("inspect", path, "--tensors").output
    let expected = ["blocks 44%\n", " 2:4\n", " 5:8\n", " 50 columns 39%\n"]
    for text in expected { #expect(table.contains(text)) }
    let json = try Tool.run("inspect", path, "--tensors", "--json").output
    #expect(json.contains("\"form\" : \"pattern\"") && json.contains("\"density\" : 0.5"))
  }

  @Test func inspectShowsOverlays() throws {
    let path = Repository.root.appendingPathComponent("Formats/vectors/valid/overlaid.curta").path
    let table = try Tool.run("inspect", path, "--tensors").output
    for text in [
      "modifiers", " 3 outlier columns\n", " 50 columns 52%, 1 outlier columns, residual ",
    ] {
      #expect(table.contains(text), "\(table)")
    }
    let json = try Tool.run("inspect", path, "--tensors", "--json").output
    #expect(json.contains("\"outliers\"") && json.contains("\"share\" : 0.03125"))
  }

  @Test func inspectAndPlanAgree() throws {
    try withModel(recipe: "rtn4") { path, _ in
      let whole = try Tool.run("inspect", path, "--json")
      #expect(whole.status == 0)
      let program = whole.json["program"] as? [String: Any] ?? [:]
      #expect((program["ops"] as? [Any])?.count == 26)
      let plan = try Tool.run("plan", path, "--json")
      #expect(plan.json["identity"] as? String == whole.json["identity"] as? String)
      let parts = ["session", "weight", "buffer", "state", "scratch"]
        .map { plan.json[$0 + "_bytes"] as? Int ?? 0 }
      #expect(parts.reduce(0, +) == plan.json["arena_bytes"] as? Int)
      let only = try Tool.run("inspect", path, "--sections", "--json")
      #expect(only.json["sections"] != nil && only.json["tensors"] == nil)
      #expect(try Tool.run("inspect", path, "--program").output.contains("cache_append"))
      #expect(try Tool.run("inspect", path, "--metadata").output.contains("recipe = rtn4\n"))
    }
  }
}
