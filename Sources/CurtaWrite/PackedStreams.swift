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

extension StoredSection {
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
