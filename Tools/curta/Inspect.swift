// `curta inspect`: what is in a file, for people and programs.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import CurtaEvaluate
import CurtaFormat

struct Inspect: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Show what is in a file.",
    discussion: """
      Without a choice: a summary. Header, directory, metadata, tensors and program are checked \
      on the way; curta verify checks the rest. Names and texts are shown with control \
      characters escaped.
      """)

  @Argument(help: "The .curta file.")
  var file: String

  @Flag(help: "List the sections.")
  var sections = false

  @Flag(help: "List the tensors.")
  var tensors = false

  @Flag(help: "List buffers, states and ops of the program.")
  var program = false

  @Flag(help: "List the metadata.")
  var metadata = false

  @Flag(help: "Print all of it, or what was chosen, as JSON.")
  var json = false

  func run() throws {
    try reporting {
      let contents = try contents(of: FileMapping(file))
      guard json else { return show(contents) }
      let isSelected = sections || tensors || program || metadata
      try JSONOutput.print(
        InspectionJSON(
          contents, path: file, sections: sections || !isSelected,
          tensors: tensors || !isSelected, program: program || !isSelected,
          metadata: metadata || !isSelected))
    }
  }

  private func contents(of mapping: FileMapping) throws(HostError) -> InspectedFile {
    do throws(CurtaError) {
      return try InspectedFile(mapping.bytes)
    } catch {
      throw .file(path: file, error)
    }
  }

  private func show(_ contents: InspectedFile) {
    var parts: [String] = []
    if sections { parts.append(contents.sectionTable) }
    if tensors { parts.append(contents.tensorTable) }
    if program { parts.append(contents.programText) }
    if metadata { parts.append(contents.metadataText) }
    if parts.isEmpty { parts = [contents.summary(path: file)] }
    Terminal.write(parts.joined(separator: "\n"))
  }
}

// MARK: - For people

extension InspectedFile {
  fileprivate func summary(path: String) -> String {
    var table = Table(["", ""])
    table.add(["file", path])
    table.add(["size", grouped(size) + " bytes"])
    table.add(["version", "1.\(minorVersion)"])
    table.add(["identity", hexadecimal(identity)])
    for entry in metadata where !entry.shown.contains("\n") {
      table.add([entry.key, entry.shown])
    }
    let codecs = Dictionary(grouping: sections, by: \.codec).map { "\($0.value.count) \($0.key)" }
    table.add(["sections", "\(sections.count): " + codecs.sorted().joined(separator: ", ")])
    table.add(["tensors", "\(tensors.count)"])
    table.add([
      "program",
      "\(ops.count) ops, \(buffers.count) buffers in \(slotCount) slots, \(states.count) states",
    ])
    if let image { table.add(["input", image.text]) }
    table.add([image == nil ? "context" : "rows of an image", "\(context)"])
    table.add([image == nil ? "vocabulary" : "outputs", "\(vocabulary)"])
    return String(table.text.drop { $0 == "\n" })
  }

  fileprivate var sectionTable: String {
    var table = Table([
      ">number", "kind", ">index", "codec", ">offset", ">stored", ">decoded", "hash",
    ])
    for (number, section) in sections.enumerated() {
      table.add([
        "\(number)", section.kind, "\(section.index)", section.codec, grouped(section.offset),
        grouped(section.storedBytes), grouped(section.bytes), section.hash,
      ])
    }
    return table.text
  }

  fileprivate var tensorTable: String {
    let isModified = tensors.contains { !$0.modifiers.isEmpty }
    var table = Table(
      [
        ">number", "name", ">rows", ">columns", "encoding", ">bits", ">group", ">exponent",
        ">stored", ">decoded", "codecs",
      ] + (isModified ? ["modifiers"] : []))
    for (number, tensor) in tensors.enumerated() {
      table.add(
        [
          "\(number)", tensor.name, "\(tensor.rows)", "\(tensor.columns)", tensor.encoding,
          "\(tensor.bits)", tensor.group == 0 ? "row" : "\(tensor.group)", "\(tensor.exponent)",
          grouped(tensor.storedBytes), grouped(tensor.bytes),
          tensor.codecs.joined(separator: "+"),
        ] + (isModified ? [tensor.modifiers] : []))
    }
    return table.text
  }

  fileprivate var metadataText: String {
    metadata.map { "\(printable($0.key)) = \(printable($0.shown))\n" }.joined()
  }

  fileprivate var programText: String {
    var table = Table([">buffer", "type", "rows", ">width", ">scales", ">fraction", ">slot"])
    for (number, buffer) in buffers.enumerated() {
      table.add([
        "b\(number)", buffer.type, buffer.rows, "\(buffer.width)", "\(buffer.scales)",
        "\(buffer.fraction)", "\(buffer.slot)",
      ])
    }
    var stateTable = Table([">state", ">heads", ">width"])
    for (number, state) in states.enumerated() {
      stateTable.add(["s\(number)", "\(state.heads)", "\(state.width)"])
    }
    var opTable = Table([">op", "name", "operands"])
    for (number, op) in ops.enumerated() {
      let results = op.results.isEmpty ? "" : " -> " + op.results.joined(separator: " ")
      opTable.add(["\(number)", op.name, op.operands.joined(separator: ", ") + results])
    }
    return
      "context \(context), vocabulary \(vocabulary), output b\(output), \(slotCount) slots\n"
      + (image.map { $0.text + "\n" } ?? "") + "\n" + table.text + "\n" + stateTable.text + "\n"
      + opTable.text
  }
}

extension InspectedFile.Image {
  /// Like "images of 224x224x3, patches of 16x16, crop of 256 by bicubic".
  fileprivate var text: String {
    let way =
      resize == "none" ? "no resize" : "\(resize)\(edge == 0 ? "" : " of \(edge)") by \(filter)"
    return
      "images of \(width)x\(height)x\(channels), patches of \(patchWidth)x\(patchHeight), \(way)"
  }
}

// MARK: - For programs

private struct InspectionJSON: Encodable {
  struct Program: Encodable {
    let context, vocabulary, output, slots: Int
    let image: InspectedFile.Image?
    let buffers: [InspectedFile.Buffer]
    let states: [InspectedFile.State]
    let ops: [InspectedFile.Op]
  }

  let schema = "curta.inspect/1"
  let file, identity, version: String
  let bytes: Int
  let sections: [InspectedFile.Section]?
  let tensors: [InspectedFile.Tensor]?
  let program: Program?
  let metadata: [InspectedFile.Entry]?

  init(
    _ contents: InspectedFile, path: String, sections: Bool, tensors: Bool, program: Bool,
    metadata: Bool
  ) {
    file = path
    identity = hexadecimal(contents.identity)
    version = "1.\(contents.minorVersion)"
    bytes = contents.size
    self.sections = sections ? contents.sections : nil
    self.tensors = tensors ? contents.tensors : nil
    self.metadata = metadata ? contents.metadata : nil
    self.program =
      program
      ? Program(
        context: contents.context, vocabulary: contents.vocabulary, output: contents.output,
        slots: contents.slotCount, image: contents.image, buffers: contents.buffers,
        states: contents.states,
        ops: contents.ops) : nil
  }
}
