// Every error as one message and one exit status: what, where, what to do.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import CurtaCompile
import CurtaEvaluate
import CurtaFormat
import CurtaImport
import CurtaQuantize
import CurtaWrite

/// The exit statuses of `curta`.
enum Exit: Int32 {
  case done = 0
  case failed = 1
  case badFile = 2
  case unsupported = 3
  case memory = 4
  case usage = 64
}

/// A message for people and the exit status that goes with it.
struct Failure {
  let exit: Exit
  let message: String

  init(_ error: any Error) {
    switch error {
    case let error as HostError: self = .of(error)
    case let error as CurtaError: self = .of(.file(path: "", error))
    case let error as ImportError:
      switch error {
      case .unreadable: self.init(.failed, error.description)
      case .malformed: self.init(.badFile, error.description)
      case .unsupported: self.init(.unsupported, error.description)
      }
    case let error as ConversionError:
      switch error {
      case .unsupported, .rotation: self.init(.unsupported, error.description)
      case .tensor: self.init(.badFile, error.description)
      }
    case let error as WorkError:
      switch error {
      case .unreadable, .unfit: self.init(.failed, error.description)
      case .damaged: self.init(.badFile, error.description)
      }
    case let error as RecipeError: self.init(.usage, error.description)
    case let error as WriteError: self.init(.failed, error.description)
    default: self.init(.failed, "\(error)")
    }
  }

  private init(_ exit: Exit, _ message: String) {
    self.exit = exit
    self.message = message
  }

  private static func of(_ error: HostError) -> Failure {
    switch error {
    case .system(let path, let reason):
      Failure(.failed, "\(path): \(reason); check the path and its permissions")
    case .file(let path, let error):
      Failure(StatusText.exitCode(error.status), text(path: path, error))
    case .savedSession(let path, let error):
      Failure(
        StatusText.exitCode(error.status), StatusText.ofSavedSession(error, path: path))
    case .memory(let needed, let available):
      Failure(
        .memory,
        "the plan needs \(grouped(needed)) bytes of memory, this computer has"
          + " \(grouped(available)); lower --context (curta plan FILE shows what takes how much)")
    case .threads(let count):
      Failure(.failed, "\(count) threads cannot be started; lower --threads")
    case .image(let path, let reason): Failure(.badFile, "\(path): \(reason)")
    case .request(let reason): Failure(.failed, reason)
    }
  }

  /// "model.curta: Bytes were changed … (bad_checksum, section data, byte 1 024). Fetch …"
  private static func text(path: String, _ error: CurtaError) -> String {
    let text = StatusText.of(error.status)
    let name = path.isEmpty ? "" : "\(path): "
    let isOfFile = StatusText.exitCode(error.status) != .failed
    let place =
      isOfFile
      ? ", \(StatusText.section(error.section)), byte \(grouped(error.offset))" : ""
    return "\(name)\(text.sentence) (\(text.name)\(place)) \(text.advice)"
  }
}

/// Runs a command; an error becomes a message on the standard error and an exit status.
func reporting(_ body: () throws -> Void) throws {
  do {
    try body()
  } catch let error as ExitCode {
    throw error
  } catch let error as ValidationError {
    throw error
  } catch {
    let failure = Failure(error)
    Terminal.note("curta: error: " + printable(failure.message, keepingLines: true))
    throw ExitCode(failure.exit.rawValue)
  }
}
