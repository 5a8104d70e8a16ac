// Columns of text, aligned: numbers right, words left.
// SPDX-License-Identifier: Apache-2.0

/// A table for people.
struct Table {
  private let header: [String]
  private let right: [Bool]
  private var rows: [[String]] = []

  /// A column whose name begins with `>` is set to the right.
  init(_ columns: [String]) {
    header = columns.map { $0.hasPrefix(">") ? String($0.dropFirst()) : $0 }
    right = columns.map { $0.hasPrefix(">") }
  }

  /// Adds a row; cells from a file pass through `printable`.
  mutating func add(_ cells: [String]) {
    rows.append(cells.map { printable($0) })
  }

  /// The lines, each ending in a line break, columns two spaces apart.
  var text: String {
    let all = [header] + rows
    let widths = header.indices.map { column in all.map { $0[column].count }.max() ?? 0 }
    return all.map { row in
      let cells = row.indices.map { column -> String in
        let space = String(repeating: " ", count: widths[column] - row[column].count)
        return right[column] ? space + row[column] : row[column] + space
      }
      var line = cells.joined(separator: "  ")
      while line.last == " " { line.removeLast() }
      return line + "\n"
    }.joined()
  }

  /// The table in Markdown.
  var markdown: String {
    func line(_ cells: [String]) -> String {
      "| " + cells.map { $0.replacing("|", with: "\\|") }.joined(separator: " | ") + " |\n"
    }
    return line(header) + line(right.map { $0 ? "--:" : "---" }) + rows.map(line).joined()
  }
}
