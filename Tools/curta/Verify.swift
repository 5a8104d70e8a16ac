// `curta verify`: every check that the runtime makes, and what a failed one means.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import CurtaEvaluate
import CurtaFormat

struct Verify: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Check all of a file: layout, hashes, tensors, program, every number.",
    discussion: "The exit status is 0 for a sound file, 2 for a bad one, 3 for one beyond us.")

  @Argument(help: "The .curta file.")
  var file: String

  @Flag(help: "Print the result as JSON.")
  var json = false

  func run() throws {
    try reporting {
      let mapping = try FileMapping(file)
      do {
        try withExtendedLifetime(mapping) { try verifyFile(mapping.bytes, path: file) }
      } catch HostError.file(_, let error) where json {
        try JSONOutput.print(VerdictJSON(file, error))
        throw ExitCode(StatusText.exitCode(error.status).rawValue)
      }
      if json {
        try JSONOutput.print(VerdictJSON(file, nil))
      } else {
        Terminal.line("\(printable(file)): ok, \(grouped(mapping.bytes.count)) bytes")
      }
    }
  }
}

private struct VerdictJSON: Encodable {
  let schema = "curta.verify/1"
  let file, status, section, message, advice: String
  let offset: UInt64

  init(_ file: String, _ error: CurtaError?) {
    self.file = file
    let text = StatusText.of(error?.status ?? .ok)
    status = text.name
    message = text.sentence
    advice = text.advice
    section = error.map { StatusText.section($0.section) } ?? ""
    offset = error?.offset ?? 0
  }
}
