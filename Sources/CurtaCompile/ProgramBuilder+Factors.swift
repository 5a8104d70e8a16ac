// Products with weights that are two factors, or a base and two factors.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor
import CurtaWrite

/// What comes between the factors of a weight: its product with the right one.
struct BetweenFactors {
  let part: LayerPart
  let places: FactorPlaces
  let rows: Int
}

extension ProgramBuilder {
  /// Whether factors are added to the product of a weight, which then is fixed numbers.
  func addsFactors(_ part: LayerPart, _ layer: Int) -> Bool {
    tensors.factors(part, layer: layer).map { $0.left != tensors.index(part, layer: layer) }
      ?? false
  }

  /// The products of one input with weights; of those that are two factors with both, of those with a
  /// base with the base. Gives what is still to be added, for `appendFactors`.
  mutating func appendProducts(
    _ input: Int, _ rows: [LinearPart], _ parts: [LayerPart], _ layer: Int
  ) -> [BetweenFactors] {
    var products: [LinearPart] = []
    var (alone, added): ([(LayerPart, FactorPlaces, Int)], [(LayerPart, FactorPlaces)]) = ([], [])
    for (row, part) in zip(rows, parts) {
      guard let factors = tensors.factors(part, layer: layer) else {
        products.append(row)
        continue
      }
      if factors.left == row.weight {
        alone.append((part, factors, row.out))
      } else {
        products.append(row)
        added.append((part, factors))
      }
    }
    if !products.isEmpty { ops.append(.linear(input: input, parts: products)) }
    if !alone.isEmpty {
      let codes = appendBetween(appendRight(input, alone.map { ($0.0, $0.1) }))
      for (codes, (_, factors, out)) in zip(codes, alone) {
        ops.append(.linear(input: codes, parts: [LinearPart(weight: factors.left, out: out)]))
      }
    }
    return added.isEmpty ? [] : appendRight(input, added)
  }

  /// Adds the products with the left factors to fixed rows.
  mutating func appendFactors(
    _ between: [BetweenFactors], to sums: [Int], _ parts: [LayerPart], _ layer: Int
  ) {
    guard !between.isEmpty else { return }
    for (codes, own) in zip(appendBetween(between), between) {
      let sum = sums[parts.firstIndex(of: own.part)!]
      ops.append(.linearAdd(input: codes, weight: own.places.left, sum: sum))
    }
  }

  /// The products of one input with right factors.
  mutating func appendRight(
    _ input: Int, _ factors: [(part: LayerPart, places: FactorPlaces)]
  ) -> [BetweenFactors] {
    let between = factors.map { part, places in
      BetweenFactors(
        part: part, places: places,
        rows: buffer("t_\(part.rawValue)", .scaled, places.rank))
    }
    ops.append(
      .linear(
        input: input,
        parts: between.map { LinearPart(weight: $0.places.right, out: $0.rows) }))
    return between
  }

  /// What comes between factors as codes.
  mutating func appendBetween(_ between: [BetweenFactors]) -> [Int] {
    between.map { own in
      let codes = buffer("c_\(own.part.rawValue)", .codes8(scales: 1), own.places.rank)
      ops.append(
        .quantize(input: own.rows, out: codes, hadamard: Spreading.block(own.places.rank)))
      return codes
    }
  }
}
