// What `curta convert` prints for people.
// SPDX-License-Identifier: Apache-2.0

import CurtaCompile
import CurtaFormat
import CurtaQuantize

extension Convert {
  func show(_ plan: ConversionPlan) {
    var table = SizeTable(groupsLayers: !tensors)
    for tensor in plan.tensors {
      table.add(
        tensor.name, tensor.rows, tensor.columns,
        form: SizeTable.form(bits: tensor.bits, group: tensor.group), parameters: tensor.isLearnt,
        bytes: tensor.bytes)
    }
    Terminal.write(table.text(last: "bytes"))
    Terminal.line()
    let total = plan.tensorBytes + plan.tokenizerBytes
    Terminal.line(
      "tensors \(grouped(plan.tensorBytes)) bytes + tokenizer \(grouped(plan.tokenizerBytes))"
        + " = \(grouped(total)), before compression")
    Terminal.line(
      "\(grouped(plan.parameters)) parameters, float32 \(grouped(plan.float32Bytes)) bytes:"
        + " \(decimal(Double(plan.float32Bytes) / Double(total), 2)) times smaller")
    if budgetIsAsked { Terminal.line("bits were shared out by what a few inputs showed") }
    if let measuring = plan.measuring {
      Terminal.line(
        work.statistics == nil
          ? "to be measured: \(grouped(measuring.rows)) rows at most, behind the quantized layers;"
            + " \(grouped(measuring.rowBytes >> 20)) MiB of rows and"
            + " \(grouped(measuring.momentBytes >> 20)) MiB of moments in memory"
          : "measured already: \(grouped(measuring.momentBytes >> 20)) MiB of moments in memory")
      if measuring.prunes {
        Terminal.line("which blocks are left out is measured: the sizes are those before")
      }
    }
  }

  func show(_ solved: SolvingRecord) {
    var table = Table(["tensor", "step", ">error of outputs", ">seconds"])
    for tensor in solved.tensors {
      for step in tensor.steps {
        table.add([tensor.name, step.name, decimal(step.error, 6), decimal(step.seconds, 3)])
      }
    }
    Terminal.write(table.text)
    Terminal.line()
    guard !solved.layers.isEmpty else { return }
    var layers = Table(["layer", "tensors", ">error", ">held out", "kept", ">seconds"])
    for layer in solved.layers {
      for (kind, errors) in layer.errors {
        let isKept = kind == layer.kept
        layers.add([
          layer.name, kind.rawValue, decimal(errors.seen, 6), decimal(errors.held, 6),
          isKept ? "yes" : "", isKept ? decimal(layer.seconds, 3) : "",
        ])
      }
    }
    Terminal.write(layers.text)
    Terminal.line()
  }

  func show(_ report: ConversionReport, _ output: String) {
    let sizes = report.sizes
    var table = SizeTable(groupsLayers: !tensors)
    for tensor in sizes.tensors {
      table.add(
        tensor.name, tensor.rows, tensor.columns, form: "\(tensor.bits) bits",
        parameters: tensor.bits != 32, bytes: tensor.storedSize, codecs: Set(tensor.codecs))
    }
    if sizes.tokenizerStoredSize > 0 {
      table.add(part: "tokenizer", bytes: sizes.tokenizerStoredSize)
    }
    let rest = sizes.fileSize - sizes.tensorStoredSize - sizes.tokenizerStoredSize
    table.add(part: "program, metadata, directory, padding", bytes: rest)
    Terminal.write(table.text(last: "bytes"))
    Terminal.line()
    Terminal.line(
      "\(printable(output)): \(grouped(sizes.fileSize)) bytes, recipe \(report.recipe),"
        + (work.layers == nil
          ? " \(decimal(report.bitsPerParameter, 2)) bits for each of"
            + " \(grouped(report.parameters)) parameters" : " a part for curta merge"))
    if work.layers == nil {
      Terminal.line(
        "float32: \(grouped(report.float32Bytes)) bytes, \(decimal(report.ratio, 2)) times as much")
    }
    Terminal.line(report.times.text)
  }
}

/// Sizes by tensor, or by kind of tensor over all layers.
private struct SizeTable {
  private struct Row {
    var name: String
    var count = 0
    var shape: String
    var form: String
    var bytes = 0
    var floatBytes = 0
    var codecs: Set<Codec> = []

    /// `8 bits, stored+zstd`
    var text: String {
      let names = codecs.sorted { $0.rawValue < $1.rawValue }.map { "\($0)" }
      return names.isEmpty ? form : form + ", " + names.joined(separator: "+")
    }
  }

  private let groupsLayers: Bool
  private var rows: [Row] = []

  init(groupsLayers: Bool) { self.groupsLayers = groupsLayers }

  static func form(bits: Int, group: Int) -> String {
    bits >= 16 ? "\(bits) bits" : "\(bits) bits, " + (group == 0 ? "row" : "group \(group)")
  }

  /// `parameters` says whether the tensor was learnt, and so takes room as float32 as well.
  mutating func add(
    _ name: String, _ rows: Int, _ columns: Int, form: String, parameters: Bool, bytes: Int,
    codecs: Set<Codec> = []
  ) {
    let row = Row(
      name: groupsLayers ? kind(name) : name, shape: "\(rows) x \(columns)", form: form)
    add(row, bytes: bytes, floatBytes: parameters ? 4 * rows * columns : 0, codecs: codecs)
  }

  /// A part of the file that is no tensor.
  mutating func add(part: String, bytes: Int) {
    add(Row(name: part, shape: "", form: ""), bytes: bytes, floatBytes: 0)
  }

  private mutating func add(
    _ row: Row, bytes: Int, floatBytes: Int, codecs: Set<Codec> = []
  ) {
    let known = rows.firstIndex {
      $0.name == row.name && $0.shape == row.shape && $0.form == row.form
    }
    let index = known ?? rows.count
    if known == nil { rows.append(row) }
    rows[index].count += 1
    rows[index].bytes += bytes
    rows[index].floatBytes += floatBytes
    rows[index].codecs.formUnion(codecs)
  }

  /// `layers.3.query` is one of the `layers.*.query`.
  private func kind(_ name: String) -> String {
    name.split(separator: ".").map { $0.allSatisfy(\.isNumber) ? "*" : String($0) }
      .joined(separator: ".")
  }

  func text(last: String) -> String {
    var table = Table(["tensor", ">count", ">shape", "form", ">float32", ">\(last)", ">smaller"])
    for row in rows {
      let ratio = row.floatBytes > 0 ? decimal(Double(row.floatBytes) / Double(row.bytes), 2) : ""
      table.add([
        row.name, "\(row.count)", row.shape, row.text,
        row.floatBytes > 0 ? grouped(row.floatBytes) : "", grouped(row.bytes), ratio,
      ])
    }
    return table.text
  }
}

extension ConversionPlan.Tensor {
  /// Whether it was learnt; the phases of rotary positions were not.
  fileprivate var isLearnt: Bool { bits != 32 }
}
