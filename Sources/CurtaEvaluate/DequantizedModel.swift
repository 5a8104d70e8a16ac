// The real numbers that a file's integers stand for, read back from its bytes.
// SPDX-License-Identifier: Apache-2.0

import CurtaCompile
import CurtaFormat
import CurtaTensor
import CurtaWrite

/// The weights of a file as float32, for arithmetic in floats over the same codes.
public struct DequantizedModel {
  public let weights: DecoderWeights
  /// The Hadamards that rows pass before they are quantized; `weights` are turned back.
  public let spreading: Spreading
  /// The codes of the attention weights of each layer, or none.
  public let codes: [ScoreCode]

  /// Reads every tensor of a decoder by its name.
  ///
  /// `description` is that of the checkpoint, which says what the file does not, such as the
  /// epsilon in real numbers. Throws `CurtaError` for a damaged file and `HostError.request` for the
  /// file of another model.
  public init(_ file: CurtaFile, like description: DecoderDescription) throws {
    let table = try file.tensors()
    var d = description.withoutNormBiases
    for index in 0..<table.count where try table[index].mask != nil { d.spreadsRows = false }
    let block = Int(try file.program(table).op(0).operand(3))
    if block == 0, Spreading(d).model > 0 { d = d.turningResidual }
    let inventory = TensorInventory(d)
    let spreading = Spreading(d)
    let factors = try DequantizedModel.factors(table)
    let replaced = factors.values.count { $0.isWhole }
    guard Int(table.count) == inventory.tensors.count + 2 * factors.count - replaced,
      block == spreading.model
    else { throw DequantizedModel.otherModel }
    func matrix(_ place: Int) throws -> Matrix {
      let planned = inventory.tensors[place]
      let tensor = try table[UInt32(place)]
      func base() throws -> Matrix {
        guard DequantizedModel.name(tensor) == planned.name, Int(tensor.rows) == planned.rows,
          Int(tensor.columns) == planned.columns, planned.role != nil
        else { throw DequantizedModel.otherModel }
        return try TensorReader(file, tensor).matrix()
      }
      guard let own = factors[planned.name] else {
        return planned.turnedBack(try base())
      }
      guard own.left.columns == own.right.rows, Int(own.left.rows) == planned.rows,
        Int(own.right.columns) == planned.columns,
        !own.isWhole || DequantizedModel.name(tensor) == planned.name + ".left"
      else { throw DequantizedModel.otherModel }
      let left = Spreading.turnedBack(
        try TensorReader(file, own.left).matrix(), block: Spreading.block(Int(own.left.columns)))
      var values = left.times(try TensorReader(file, own.right).matrix())
      if !own.isWhole {
        let base = try base()
        for i in values.values.indices { values.values[i] += base.values[i] }
      }
      return planned.turnedBack(values)
    }

    let none = LinearLayer(Matrix(rows: 0, columns: 0))
    var ends = DecoderEnds(embedding: none.weight, finalNorm: NormLayer([]), head: nil)
    for part in inventory.firstParts + inventory.lastParts {
      part.set(try matrix(inventory.index(part)!), in: &ends)
    }
    // A tied head may share the embedding's codes but not its description.
    if d.parts.remove(.tiedHead) != nil { ends.head = ends.embedding }
    var layers: [DecoderLayer] = []
    for index in 0..<d.layers {
      var layer = DecoderLayer(
        attentionNorm: NormLayer([]), query: none, key: none, value: none, output: none,
        feedForwardNorm: nil, gate: nil, up: none, down: none)
      for part in inventory.layerParts {
        part.set(try matrix(inventory.index(part, layer: index)!), in: &layer)
      }
      layers.append(layer)
    }
    weights = DecoderWeights(description: d, ends: ends, layers: layers)
    self.spreading = spreading
    codes = try file.program(table).scoreCodes()
    guard weights.isConsistent else { throw DequantizedModel.otherModel }
  }

  /// The two tensors that a weight is, or that are added to it.
  private struct Factors {
    let left: TensorDescriptor
    let right: TensorDescriptor
    /// Whether there is no other.
    let isWhole: Bool
  }

  private static func name(_ tensor: TensorDescriptor) -> String {
    String(
      decoding: UnsafeRawBufferPointer(start: tensor.name.base, count: tensor.name.count),
      as: UTF8.self)
  }

  /// The weights of a file that have factors, by name: tensors with `.left` and `.right` behind it.
  private static func factors(_ table: TensorTable) throws -> [String: Factors] {
    var tensors: [String: TensorDescriptor] = [:]
    for index in 0..<table.count { tensors[name(try table[index])] = try table[index] }
    var factors: [String: Factors] = [:]
    for (name, right) in tensors where name.hasSuffix(".right") {
      let whole = String(name.dropLast(6))
      guard let left = tensors[whole + ".left"] else { throw otherModel }
      factors[whole] = Factors(left: left, right: right, isWhole: tensors[whole] == nil)
    }
    return factors
  }

  private static let otherModel = HostError.request(
    "the file and the reference do not have the same tensors; give the checkpoint that the file was"
      + " converted from")
}

extension Program {
  /// The codes of its `attend` ops in their order, or none where they have none.
  fileprivate func scoreCodes() throws(CurtaError) -> [ScoreCode] {
    var codes: [ScoreCode] = []
    for index in 0..<opCount {
      let record = try op(index)
      guard record.code == .attend, try record.operand(10) > 0 else { continue }
      codes.append(
        ScoreCode(
          bits: Int(try record.operand(10)), step: Int(try record.operand(11)),
          shift: Int(try record.operand(12))))
    }
    return codes
  }
}
