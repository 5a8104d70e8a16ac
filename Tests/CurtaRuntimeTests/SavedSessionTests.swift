// A saved session goes on bit for bit, and no saved bytes can do harm.
// SPDX-License-Identifier: Apache-2.0

import CCurta
import CurtaFormat
import CurtaTestSupport
import Foundation
import Testing

@testable import CurtaRuntime

extension TestSession {
  func save() throws -> [UInt8] {
    let room = curta_session_save_size(pointer)
    let memory = GuardedBytes(count: room)
    var size = 0
    try check(curta_session_save(pointer, memory.base, room, &size))
    #expect(size == room && memory.canariesAreWhole)
    return Array(UnsafeRawBufferPointer(start: memory.base, count: size))
  }

  /// The status of restoring, from memory with nothing behind it.
  func restore(_ bytes: [UInt8]) -> Status {
    let memory = GuardedBytes(bytes)
    return Status(rawValue: curta_session_restore(pointer, memory.base, bytes.count))!
  }

  func sample(_ temperature: UInt32 = 1 << 16) throws -> Int32 {
    var sampling = curta_sampling()
    sampling.struct_size = UInt32(MemoryLayout<curta_sampling>.size)
    sampling.temperature = temperature
    sampling.top_k = 12
    sampling.repetition_penalty = 20000
    sampling.penalty_window = 8
    var token: Int32 = -1
    try check(curta_sample(pointer, &sampling, &token))
    return token
  }
}

/// Makes the hash at the end right again.
func fixHash(_ bytes: inout [UInt8]) {
  guard bytes.count >= 8 else { return }
  bytes.put(bytes.count - 8, 8, referenceXXH64(bytes.dropLast(8)))
}

private let tiny = ValidVector.named("tiny")

@Suite struct SavedSessionTests {
  /// Saved at any place and restored under any options, the rest gives the same bits and tokens.
  @Test(arguments: ValidVector.all)
  func goesOnBitForBit(_ vector: ValidVector) throws {
    let file = GuardedBytes(vector.bytes)
    let tokens = Array(vector.tokens.prefix(12))
    for cut in [0, 1, 5, 11] {
      let first = try TestSession(file, Setup(chunk: 5, outputs: 5, fill: 0xA5))
      curta_seed(first.pointer, 99)
      for token in tokens[..<cut] { try first.step([token]) }
      if cut > 1 { _ = try first.sample() }
      let saved = try first.save()
      for (context, threads, kernels, chunk) in [(0, 1, 0, 4), (14, 2, 1, 1)] {
        let setup = Setup(
          context: UInt32(context), chunk: UInt32(chunk), outputs: UInt32(chunk),
          threads: UInt32(threads), kernels: UInt32(kernels), fill: 0x5A)
        let second = try TestSession(file, setup)
        // What was there before is gone.
        try second.step([0])
        #expect(second.restore(saved) == .ok)
        #expect(curta_past(second.pointer) == cut)
        let row = second.logits(0)
        #expect(row == (cut > 0 ? first.logits(0) : nil))
        #expect(try second.save() == saved)
        // The one that was not stopped, and this one.
        let whole = try TestSession(file, Setup(chunk: 1))
        curta_seed(whole.pointer, 99)
        for token in tokens[..<cut] { try whole.step([token]) }
        if cut > 1 { _ = try whole.sample() }
        if cut > 0 { #expect(try second.sample() == whole.sample()) }
        for token in tokens[cut...] {
          try whole.step([token])
          try second.step([token])
          #expect(second.logits(0) == whole.logits(0))
          #expect(try second.sample() == whole.sample())
        }
        #expect(second.arena.canariesAreWhole)
      }
    }
  }

  @Test func bytesAreTheSpecifications() throws {
    let session = try TestSession(tiny.bytes, Setup(chunk: 3))
    curta_seed(session.pointer, 7)
    try session.step([15, 1, 6])
    try session.step([2])
    let expected = try Repository.bytes("Formats/vectors/sessions/tiny.session")
    #expect(try session.save() == expected)
    let page = try Repository.text("Formats/curta-session.md")
    #expect(page.contains("MAX_EXPONENT | 2^24") && SavedSession.largestExponent == 1 << 24)
    // A line of worked bytes: its place, and bytes.
    var lines = 0
    for match in page.matches(of: #/(?m)^([0-9A-F]{4})  ((?:[0-9A-F]{2} ?)+)/#) {
      let at = Int(match.1, radix: 16)!
      let bytes = match.2.split(separator: " ").map { UInt8($0, radix: 16)! }
      #expect(Array(expected[at..<at + bytes.count]) == bytes, "\(match.1)")
      lines += 1
    }
    #expect(lines >= 18)
  }

  @Test func roomIsChecked() throws {
    let session = try TestSession(tiny.bytes, Setup())
    try session.step([1])
    var bytes = [UInt8](repeating: 7, count: curta_session_save_size(session.pointer) - 1)
    var size = 5
    #expect(
      curta_session_save(session.pointer, &bytes, bytes.count, &size)
        == Status.outputTooSmall.rawValue)
    #expect(size == 5 && bytes.allSatisfy { $0 == 7 })
    let bad = Status.badArgument.rawValue
    #expect(curta_session_save(nil, &bytes, bytes.count, &size) == bad)
    #expect(curta_session_save(session.pointer, nil, 0, &size) == bad)
    #expect(curta_session_save(session.pointer, &bytes, -1, &size) == bad)
    #expect(curta_session_save(session.pointer, &bytes, bytes.count, nil) == bad)
    #expect(curta_session_restore(nil, &bytes, bytes.count) == bad)
    #expect(curta_session_restore(session.pointer, nil, 0) == bad)
    #expect(curta_session_restore(session.pointer, &bytes, -1) == bad)
    #expect(curta_session_save_size(nil) == 0)
  }

  /// A rewound session has no logits; what lies past its end is not saved.
  @Test func rewindingIsSaved() throws {
    let session = try TestSession(tiny.bytes, Setup(chunk: 8))
    try session.step([15, 1, 6, 2])
    try check(curta_rewind(session.pointer, 2))
    let saved = try session.save()
    #expect(saved.number(12, 4) == 0 && saved.number(32, 4) == 2)
    let other = try TestSession(tiny.bytes, Setup())
    #expect(other.restore(saved) == .ok)
    #expect(other.logits(0) == nil)
    #expect(throws: StatusError(Status.badArgument.rawValue)) { try other.sample() }
    try other.step([6])
    try session.step([6])
    #expect(other.logits(0) == session.logits(0))
  }

  @Test func belongsToItsModel() throws {
    let session = try TestSession(tiny.bytes, Setup())
    try session.step([1])
    let saved = try session.save()
    for vector in ValidVector.all where vector.name != tiny.name {
      let other = try TestSession(vector.bytes, Setup())
      #expect(other.restore(saved) == .wrongModel)
    }
    // A wrong identity made right for another model: its shapes disagree, or it is harmless.
    for vector in ValidVector.all {
      let other = try TestSession(vector.bytes, Setup())
      var forged = saved
      forged.put(24, 8, other.info.identity)
      fixHash(&forged)
      let status = other.restore(forged)
      #expect([.ok, .badPlan, .badSize, .badPayload].contains(status), "\(vector): \(status)")
      try other.step([0])
    }
  }

  @Test func theContextMustHoldIt() throws {
    let session = try TestSession(tiny.bytes, Setup(chunk: 8))
    try session.step([1, 2, 3, 4, 5, 6])
    let saved = try session.save()
    let small = try TestSession(tiny.bytes, Setup(context: 5))
    #expect(small.restore(saved) == .contextFull)
    let exact = try TestSession(tiny.bytes, Setup(context: 6))
    #expect(exact.restore(saved) == .ok)
    #expect(throws: StatusError(Status.contextFull.rawValue)) { try exact.step([1]) }
  }

  /// The Python reader, written from the page alone, saves the same bytes, and goes on from ours.
  @Test(.enabled(if: Reference.isThere, "SKIPPED: python3 with numpy is not here"))
  func equalsThePythonReader() throws {
    try withTemporaryFolder { folder in
      let theirs = folder.appendingPathComponent("theirs").path
      let ours = folder.appendingPathComponent("ours").path
      for name in ["tiny", "window", "groups", "extreme", "one-head"] {
        let vector = ValidVector.named(name)
        let session = try TestSession(vector.bytes, Setup(chunk: 4))
        curta_seed(session.pointer, 5)
        let (first, rest) = (Array(vector.tokens.prefix(6)), Array(vector.tokens[6..<10]))
        for token in first { try session.step([token]) }
        let saved = try session.save()
        try Data(saved).write(to: URL(fileURLWithPath: ours))
        let list = { (tokens: [Int32]) in tokens.map(String.init).joined(separator: ",") }
        _ = try Reference.run(name, ["--tokens", list(first), "--seed", "5", "--save", theirs])
        #expect(try [UInt8](Data(contentsOf: URL(fileURLWithPath: theirs))) == saved, "\(name)")
        let output = try Reference.run(name, ["--restore", ours, "--tokens", list(rest)])
        for token in rest { try session.step([token]) }
        #expect(output.split(separator: "\n").last.map(String.init) == list(session.logits(0)!))
      }
    }
  }

  /// Mutated sessions get the same status from both readers.
  @Test(.enabled(if: Reference.isThere, "SKIPPED: python3 with numpy is not here"))
  func statusesEqualThePythonReaders() throws {
    let good = try Repository.bytes("Formats/vectors/sessions/tiny.session")
    var random = SeededRandom.announced("statuses of saved sessions")
    try withTemporaryFolder { folder in
      var paths: [String] = []
      var statuses: [String] = []
      let names = try Dictionary(
        uniqueKeysWithValues: Repository.table("Formats/registry.tsv")
          .filter { $0[0] == "status" }.map { (Int32($0[1])!, $0[2]) })
      for i in 0..<300 {
        var bytes = good
        let at = random.below(random.chance(3) ? bytes.count : 96)
        switch i % 5 {
        case 0: bytes = Array(bytes.prefix(at))
        case 1: bytes.append(0)
        case 2: bytes.put(at & ~3 % 352, 4, random.element([0, 1, 5, 0x8000, 1 << 24, .max]))
        default: bytes[at] ^= 1 << UInt8(random.below(8))
        }
        if random.chance(3), bytes.count >= 72 { bytes.put(16, 8, UInt64(bytes.count)) }
        if !random.chance(8) { fixHash(&bytes) }
        let session = try TestSession(tiny.bytes, Setup())
        statuses.append(names[session.restore(bytes).rawValue]!)
        paths.append(folder.appendingPathComponent("\(i)").path)
        try Data(bytes).write(to: URL(fileURLWithPath: paths[i]))
      }
      let output = try Reference.run("tiny", ["--check"] + paths)
      #expect(output.split(separator: "\n").map(String.init) == statuses)
      #expect(Set(statuses).count >= 8, "\(Set(statuses))")
    }
  }
}

/// `Formats/reference/curta_session.py`.
private enum Reference {
  static let isThere: Bool = {
    let there = (try? run("tiny", ["--tokens", "1"])) != nil
    if !there { print("SKIPPED: python3 with numpy is not here") }
    return there
  }()

  /// What it prints for a valid vector.
  static func run(_ name: String, _ arguments: [String]) throws -> String {
    let process = Process()
    let pipe = Pipe()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments =
      [
        "python3", "-B", Repository.root.path + "/Formats/reference/curta_session.py",
        Repository.root.path + "/Formats/vectors/valid/\(name).curta",
      ] + arguments
    process.standardOutput = pipe
    process.standardError = FileHandle.nullDevice
    try process.run()
    let data = pipe.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    guard process.terminationStatus == 0 else {
      throw StatusError(Status.badArgument.rawValue)
    }
    return String(decoding: data, as: UTF8.self)
  }
}
