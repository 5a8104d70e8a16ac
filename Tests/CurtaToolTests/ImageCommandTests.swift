// The commands on a small image model: from the checkpoint to labels, features and measures.
// SPDX-License-Identifier: Apache-2.0

import CurtaTestSupport
import Foundation
import Testing

@Suite struct ImageCommandTests {
  /// Calls `body` with the path of a converted tiny model, its source and a folder.
  private func withModel(
    _ flags: [String] = [], _ body: (String, String, URL) throws -> Void
  ) throws {
    try withTemporaryFolder { folder in
      let source = try TinyVisionFolder.write(to: folder)
      let path = folder.appendingPathComponent("tiny.curta").path
      let result = try Tool.run(["convert", source, "-o", path, "--recipe", "w8"] + flags)
      #expect(result.status == 0, "\(result.errors)")
      try body(path, source, folder)
    }
  }

  /// A PPM of drawn pixels.
  private func picture(_ seed: UInt64, width: Int = 16, height: Int = 16) -> Data {
    var random = SeededRandom(seed)
    return Data("P6 # drawn\n\(width) \(height)\n255\n".utf8)
      + Data(random.bytes(3 * width * height))
  }

  /// 8 by 8 pixels in grey.
  private static let png = Data(
    base64Encoded:
      "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAAAAADhZOFXAAAAIUlEQVR4nC3BMQIAMATAwDxWUf6/W3JHiCdSlGjxxYjV"
      + "AZglGeF2KOywAAAAAElFTkSuQmCC")

  private func write(_ data: Data, _ folder: URL, _ name: String) throws -> String {
    let url = folder.appendingPathComponent(name)
    try FileManager.default.createDirectory(
      at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
    try data.write(to: url)
    return url.path
  }

  @Test func thePlanIsWhatIsWritten() throws {
    try withTemporaryFolder { folder in
      let source = try TinyVisionFolder.write(to: folder)
      let path = folder.appendingPathComponent("tiny.curta").path
      for recipe in ["w8", "w6", "rtn4"] {
        let plan = try Tool.run("convert", source, "--recipe", recipe, "--dry-run", "--json")
        let result = try Tool.run("convert", source, "-o", path, "--recipe", recipe, "--json")
        #expect(plan.status == 0 && result.status == 0, "\(plan.errors)\(result.errors)")
        #expect(
          result.json["tensor_decoded_bytes"] as? Int == plan.json["tensor_bytes"] as? Int)
        #expect(try Tool.run("verify", path).status == 0)
      }
      let inspected = try Tool.run("inspect", path, "--metadata").output
      #expect(inspected.contains("output = labels"))
      #expect(inspected.contains("labels = ant"))
    }
  }

  @Test func classifyIsTheSameOnEveryPath() throws {
    try withModel { path, _, folder in
      let images = try (0..<3).map { i in
        try write(
          picture(UInt64(i), width: 16 + 9 * i, height: 16 + 4 * i), folder, "image \(i).ppm")
      }
      let once = try Tool.run(["classify", path] + images)
      #expect(once.status == 0, "\(once.errors)")
      for label in TinyVisionFolder.labels { #expect(once.output.contains(" %  \(label)\n")) }
      for more in [["-t", "2"], ["--batch", "2"], ["--batch", "64", "-t", "3"]] {
        #expect(try Tool.run(["classify", path] + images + more).output == once.output)
      }
      let json = try Tool.run(["classify", path, "--json", "--top", "2"] + images).json
      let results = json["images"] as? [[String: Any]] ?? []
      #expect(results.map { $0["image"] as? String } == images)
      #expect(results.allSatisfy { ($0["labels"] as? [Any])?.count == 2 })
      let embed = try Tool.run("embed", path, images[0])
      #expect(embed.status == 1 && embed.errors.contains("curta classify"))
      let run = try Tool.run("run", path, "-p", "x")
      #expect(run.status == 1 && run.errors.contains("curta classify"))
    }
  }

  /// The drawn pictures of Examples, by their folders and by the float forward pass.
  @Test(arguments: ["w8", "w6", "w4"])
  func drawnPicturesAreWhatTheyShow(recipe: String) throws {
    let source = Repository.root.path + "/Examples/models/vit-cifar10"
    let pictures = Repository.root.path + "/Examples/pictures"
    try withTemporaryFolder { folder in
      let path = folder.appendingPathComponent("vit.curta").path
      let converted = try Tool.run("convert", source, "-o", path, "--recipe", recipe)
      #expect(converted.status == 0, "\(converted.errors)")
      let eval = try Tool.run(
        "eval", path, "--images", pictures, "--reference", source, "--json"
      ).json
      #expect(eval["labelled"] as? Int == 10)
      for key in ["accuracy", "reference_accuracy", "top1_agreement"] {
        #expect(eval[key] as? Double == 1, "\(key)")
      }
      #expect(eval["kl_mean"] as? Double ?? 1 < (recipe == "w4" ? 0.003 : 0.0005))
      for label in ["airplane", "frog", "truck"] {
        let picture = "\(pictures)/\(label)/drawn.png"
        let classified = try Tool.run("classify", path, picture, "--top", "1")
        #expect(classified.output.hasSuffix(" %  \(label)\n"), "\(classified.errors)")
      }
    }
  }

  @Test func damagedPicturesAreNamed() throws {
    try withModel { path, _, folder in
      let good = picture(1)
      for (name, data, word) in [
        ("empty.jpg", Data(), "neither JPEG"), ("short.ppm", good.dropLast(), "damaged"),
        ("text.png", Data("hello, world".utf8), "neither JPEG"),
        ("huge.ppm", Data("P6 100000 100000 255\n".utf8), "100000 x 100000"),
        ("zero.pgm", Data("P5 0 1 255\n ".utf8), "damaged"),
        ("cut.jpg", Data([0xFF, 0xD8, 0xFF, 0xE0, 0, 16]), "damaged JPEG"),
        ("cut.png", Data(ImageCommandTests.png!.prefix(40)), "damaged PNG"),
        ("wide.ppm", picture(1, width: 3000, height: 1), "sides to 1024"),
      ] {
        let image = try write(data, folder, name)
        let result = try Tool.run("classify", path, image)
        #expect(result.status == 2, "\(name): \(result.errors)")
        #expect(result.errors.contains(word) && result.errors.contains(name), "\(result.errors)")
      }
      #expect(try Tool.run("classify", path, folder.path + "/none.jpg").status == 1)
      #expect(try Tool.run("classify", path).status == 64)
      let grey = try write(ImageCommandTests.png!, folder, "grey.png")
      #expect(try Tool.run("classify", path, grey).status == 0)
    }
  }

  @Test func embedGivesRows() throws {
    try withModel(["--features"]) { path, _, folder in
      let image = try write(picture(4), folder, "a.ppm")
      let line = try Tool.run("embed", path, image)
      #expect(line.status == 0, "\(line.errors)")
      let parts = line.output.split(separator: "\t")
      #expect(parts.count == 2 && parts[0] == image)
      #expect(parts[1].split(separator: " ").count == 32)
      let json = try Tool.run("embed", path, image, "--json", "--unit").json
      let row = (json["images"] as? [[String: Any]])?.first?["features"] as? [Double] ?? []
      #expect(abs(row.reduce(0) { $0 + $1 * $1 } - 1) < 1e-9)
      #expect(try Tool.run("classify", path, image).errors.contains("curta embed"))
    }
  }

  /// A folder of folders and a tar of them give the same measures; folders match labels by name.
  @Test func evalMeasuresImages() throws {
    try withModel { path, source, folder in
      for (label, seeds) in [("ant", 0..<4), ("Bee", 4..<7), ("cat_fish", 7..<9)] {
        for seed in seeds {
          _ = try write(picture(UInt64(seed)), folder, "set/\(label)/\(seed).ppm")
        }
      }
      let images = folder.path + "/set"
      let flags = ["--reference", source, "--json", "--confusion"]
      let result = try Tool.run(["eval", path, "--images", images] + flags)
      #expect(result.status == 0, "\(result.errors)")
      #expect(result.json["images"] as? Int == 9 && result.json["labelled"] as? Int == 9)
      for key in ["accuracy", "reference_accuracy", "kl_mean", "top1_agreement"] {
        #expect(result.json[key] is Double, "\(key)")
      }
      #expect((result.json["kl_mean"] as? Double ?? 1) < 0.01)
      let confusion = result.json["confusion"] as? [[Int]] ?? []
      #expect(confusion.map { $0.reduce(0, +) } == [4, 3, 2])

      let tar = Process()
      tar.executableURL = URL(fileURLWithPath: "/bin/tar")
      tar.arguments = ["cf", images + ".tar", "-C", folder.path, "set"]
      try tar.run()
      tar.waitUntilExit()
      let packed = try Tool.run(["eval", path, "--images", images + ".tar"] + flags)
      #expect(packed.status == 0, "\(packed.errors)")
      for key in ["accuracy", "kl_mean", "top1_agreement"] {
        #expect(packed.json[key] as? Double == result.json[key] as? Double)
      }
      let some = try Tool.run(
        "eval", path, "--images", images, "--limit", "3", "--markdown", "--progress", "always")
      #expect(some.status == 0 && some.output.contains("| accuracy |"), "\(some.errors)")
      #expect(some.errors.contains("100 %"))
      #expect(try Tool.run("eval", path, "--images", images, "--text", "x").status == 64)
      _ = try write(picture(1), folder, "set/dog/1.ppm")
      #expect(try Tool.run("eval", path, "--images", images).errors.contains("4 folders"))
    }
  }

  /// MNIST's own files; a colour model takes grey images.
  /// Features tell classes of other colours apart, in floats and integers; the probe says so.
  @Test func evalProbesFeatures() throws {
    try withModel(["--features"]) { path, source, folder in
      for (place, name) in ["dark", "light"].enumerated() {
        for seed in 0..<6 {
          var random = SeededRandom(UInt64(10 * place + seed))
          let pixels = random.bytes(3 * 16 * 16).map { $0 / 8 + UInt8(200 * place) }
          _ = try write(
            Data("P6 16 16 255\n".utf8) + Data(pixels), folder, "set/\(name)/\(seed).ppm")
        }
      }
      let images = ["eval", path, "--images", folder.path + "/set"]
      let flags = ["--features", "--reference", source, "--json"]
      let json = try Tool.run(images + flags + ["--probe"]).json
      #expect(json["probe_accuracy"] as? Double == 1)
      #expect(json["reference_probe_accuracy"] as? Double == 1)
      #expect(try Tool.run(images + flags).json["probe_accuracy"] == nil)
      let alone = try Tool.run("eval", path, "--images", folder.path + "/set/dark", "--probe")
      #expect(alone.status == 1 && alone.errors.contains("folders of their classes"))
    }
    try withModel { path, _, folder in
      _ = try write(picture(1), folder, "set/ant/1.ppm")
      let result = try Tool.run("eval", path, "--images", folder.path + "/set", "--probe")
      #expect(result.status == 1 && result.errors.contains("--features"))
    }
  }

  @Test func evalReadsTheFilesOfMNIST() throws {
    try withModel { path, _, folder in
      var random = SeededRandom(8)
      let pixels = Data([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 8, 0, 0, 0, 8]) + Data(random.bytes(128))
      let images = try write(pixels, folder, "images")
      let labels = try write(Data([0, 0, 8, 1, 0, 0, 0, 2, 2, 0]), folder, "labels")
      let result = try Tool.run("eval", path, "--mnist", images, labels, "--json")
      #expect(result.json["labelled"] as? Int == 2, "\(result.errors)")
      let wrong = try Tool.run("eval", path, "--mnist", labels, images)
      #expect(wrong.status == 2)
    }
  }
}
