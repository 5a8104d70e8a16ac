// Tensors in the form that goes into the file, so that their codes need not stay in memory.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat
import Dispatch

/// The streams of a tensor, packed and compressed, with what its descriptor says.
public struct PackedStreams: Sendable, Equatable {
  let encoding: Encoding
  let bits: Int
  let group: Int
  let exponent: Int
  let flags: UInt8
  /// Without their streams, which are among the sections.
  let modifiers: [TensorContents.Modifier]
  let sections: [StoredSection]
}

extension TensorContents {
  /// The same tensors, checked, packed and compressed; the codec of the file is chosen here.
  ///
  /// Streams are compressed side by side on all cores. Throws `WriteError`.
  public static func packed(
    _ tensors: [TensorContents], _ choice: CodecChoice
  ) throws(WriteError) -> [TensorContents] {
    for tensor in tensors { try tensor.validate() }
    let sections = try StoredSection.streams(of: tensors, choice)
    return zip(tensors, sections).map { tensor, sections in
      var modifiers = tensor.modifiers
      for i in modifiers.indices { modifiers[i].streams = [] }
      return TensorContents(
        name: tensor.name, rows: tensor.rows, columns: tensor.columns,
        payload: .packed(
          PackedStreams(
            encoding: tensor.encoding, bits: tensor.bits, group: tensor.group,
            exponent: tensor.exponent, flags: tensor.flags, modifiers: modifiers,
            sections: sections)))
    }
  }
}

extension TensorContents {
  /// A tensor of a file in the form in which it lies there. Throws `CurtaError`.
  public init(_ tensor: TensorDescriptor, of file: CurtaFile) throws(CurtaError) {
    var sections: [StoredSection] = []
    for stream in 0..<tensor.dataCount {
      sections.append(try StoredSection(file.data(tensor.data + stream), of: file))
    }
    var modifiers: [Modifier] = []
    if let mask = tensor.mask {
      modifiers.append(
        Modifier(
          kind: .mask, form: Int(mask.form.rawValue), first: Int(mask.first),
          second: Int(mask.second)))
    }
    for (kind, overlay) in [
      (ModifierKind.outlierColumns, tensor.outliers), (.sparseResidual, tensor.residual),
    ] {
      guard let overlay else { continue }
      modifiers.append(
        Modifier(
          kind: kind, form: Int(overlay.step), first: Int(overlay.count),
          second: Int(overlay.bound)))
    }
    self.init(
      name: tensor.name.string, rows: Int(tensor.rows), columns: Int(tensor.columns),
      payload: .packed(
        PackedStreams(
          encoding: tensor.encoding, bits: Int(tensor.bits), group: Int(tensor.group),
          exponent: Int(tensor.exponent),
          flags: (tensor.hasGroupScales ? 1 : 0) | (tensor.hasGroupOffsets ? 2 : 0),
          modifiers: modifiers, sections: sections)))
  }
}

extension StoredSection {
  /// A data section that another file holds.
  fileprivate init(_ section: Section, of file: CurtaFile) throws(CurtaError) {
    let stored = try file.storedBytes(section)
    kind = section.kind
    index = 0
    codec = section.codec
    size = Int(section.size)
    bytes = [UInt8](UnsafeRawBufferPointer(start: stored.base, count: stored.count))
    hash = section.hash
  }

  /// The data sections of each tensor, all with index 0; the result does not depend on the number
  /// of cores.
  static func streams(
    of tensors: [TensorContents], _ choice: CodecChoice
  ) throws(WriteError) -> [[StoredSection]] {
    let streams = tensors.indices.flatMap { tensor in
      (0..<tensors[tensor].streamCount).map { (tensor: tensor, stream: $0) }
    }
    var results = [Result<StoredSection, WriteError>?](repeating: nil, count: streams.count)
    results.withUnsafeMutableBufferPointer { results in
      // Every iteration writes its own element.
      nonisolated(unsafe) let results = results
      DispatchQueue.concurrentPerform(iterations: streams.count) { i in
        let tensor = tensors[streams[i].tensor]
        let stream = streams[i].stream
        results[i] = Result { () throws(WriteError) in
          if case .packed(let packed) = tensor.payload { return packed.sections[stream] }
          return try StoredSection(kind: SectionKind.data, tensor.stream(stream), choice)
        }
      }
    }
    var sections = [[StoredSection]](repeating: [], count: tensors.count)
    for (place, result) in zip(streams, results) {
      if let result { sections[place.tensor].append(try result.get()) }
    }
    return sections
  }
}
