// Where text goes, and what may be shown on a terminal.
// SPDX-License-Identifier: Apache-2.0

import Glibc

/// The standard streams, unbuffered.
enum Terminal {
  /// Writes to the standard output, whole; gives up where nobody reads any more.
  static func write(_ text: String) { writeAll(STDOUT_FILENO, text) }

  /// Writes a line to the standard output.
  static func line(_ text: String = "") { write(text + "\n") }

  /// Writes a line to the standard error.
  static func note(_ text: String) { writeAll(STDERR_FILENO, text + "\n") }

  /// Writes to the standard error.
  static func mutter(_ text: String) { writeAll(STDERR_FILENO, text) }

  static let outputIsTerminal = isatty(STDOUT_FILENO) == 1
  static let errorIsTerminal = isatty(STDERR_FILENO) == 1

  /// Columns of the terminal on the standard error: what COLUMNS says, else 80.
  static let columns: Int = {
    guard let text = getenv("COLUMNS"), let value = Int(String(cString: text)), value > 0 else {
      return 80
    }
    return value
  }()

  private static func writeAll(_ descriptor: Int32, _ text: String) {
    var text = text
    text.withUTF8 { bytes in
      var done = 0
      while done < bytes.count {
        let written = Glibc.write(descriptor, bytes.baseAddress! + done, bytes.count - done)
        if written < 0, errno == EINTR { continue }
        guard written > 0 else { return }
        done += written
      }
    }
  }
}

/// Text from a file, made fit for a terminal: control characters, and those that turn the
/// direction of writing, become escapes such as `\u{1B}`.
func printable(_ text: String, keepingLines: Bool = false) -> String {
  var result = ""
  for scalar in text.unicodeScalars {
    switch scalar.value {
    case 0x0A, 0x09:
      if keepingLines {
        result.unicodeScalars.append(scalar)
      } else {
        result += scalar == "\n" ? "\\n" : "\\t"
      }
    case 0x00...0x1F, 0x7F...0x9F, 0x200E, 0x200F, 0x2028...0x202E, 0x2066...0x2069:
      result += "\\u{" + String(scalar.value, radix: 16, uppercase: true) + "}"
    default: result.unicodeScalars.append(scalar)
    }
  }
  return result
}

/// Decimal digits in groups of three: `1 234 567`.
func grouped(_ value: some BinaryInteger) -> String {
  let digits = String(value)
  var result = ""
  for (index, digit) in digits.enumerated() {
    if index > 0, digit != "-", (digits.count - index) % 3 == 0, result != "-" { result += " " }
    result.append(digit)
  }
  return result
}

/// A number with so many digits after the point.
func decimal(_ value: Double, _ digits: Int) -> String {
  guard value.isFinite else { return "\(value)" }
  var buffer = [CChar](repeating: 0, count: 400)
  _ = withVaList([Int32(digits), value]) { vsnprintf(&buffer, buffer.count, "%.*f", $0) }
  return String(decoding: buffer.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
}

/// Seconds as a number.
func seconds(_ duration: Duration) -> Double {
  Double(duration.components.seconds) + Double(duration.components.attoseconds) * 1e-18
}
