// Activations rounded to int8 and back in float arithmetic, where the program quantizes them.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor
import CurtaWrite

/// The float-arithmetic simulation of the program's activation codes.
public enum FakeQuantization {
  /// Where the program has int8 codes.
  private static let sites: Set<ActivationSite> = [
    .attentionInput, .query, .key, .value, .attentionOutput, .feedForwardInput,
    .feedForwardProduct, .headInput,
  ]

  /// Rounds every site's rows to 127 steps a side with one float scale a row, as the program does:
  /// a row per token, or per (token, head) for q, k and v; and where the program turns the rows of
  /// a site by a Hadamard of blocks, turns them before and back after. `codes` are those of the
  /// attention weights of each layer, or none.
  public static func transform(
    _ spreading: Spreading, codes: [ScoreCode] = []
  ) -> SiteTransform {
    SiteTransform { site, layer, values, rowWidth in
      if site == .attentionWeights, !codes.isEmpty {
        return LevelTable(codes[layer]).round(&values, rowWidth)
      }
      guard sites.contains(site) else { return }
      let block = spreading[site]
      rotate(&values, block)
      round(&values, rowWidth)
      rotate(&values, block)
    }
  }

  /// The orthonormal Hadamard of blocks, its own inverse; 0 is none.
  package static func rotate(_ values: inout [Float], _ block: Int) {
    if block > 0 { hadamard(&values, block: block, scale: 1 / Float(block).squareRoot()) }
  }

  /// Each row [rowWidth] to the nearest of −127…127 times its largest magnitude / 127.
  package static func round(_ values: inout [Float], _ rowWidth: Int) {
    values.withUnsafeMutableBufferPointer { values in
      for start in stride(from: 0, to: values.count, by: rowWidth) {
        var largest: Float = 0
        for i in start..<start + rowWidth { largest = max(largest, abs(values[i])) }
        guard largest > 0 else { continue }
        let (step, inverse) = (largest / 127, 127 / largest)
        // Adding and subtracting 1.5 · 2^23 rounds to an integer.
        for i in start..<start + rowWidth {
          values[i] = ((values[i] * inverse + 0x1.8p23) - 0x1.8p23) * step
        }
      }
    }
  }
}
