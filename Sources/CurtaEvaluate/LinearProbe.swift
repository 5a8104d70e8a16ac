// How well features tell classes apart: a linear classifier on them.
// SPDX-License-Identifier: Apache-2.0

import CurtaQuantize
import CurtaTensor

/// A linear probe: ridge regression from features to classes (1 for an image's own, 0 for the others),
/// with an intercept, and a penalty of a tenth of the features' mean variance.
///
/// Every image is judged by the classifier that is fitted to all others: leave-one-out has a closed
/// form for ridge regression (Golub, Heath and Wahba 1979; also Hastie et al., "The Elements of
/// Statistical Learning", eq. 7.64), so no image need be left out in turn, and none is drawn by chance.
struct LinearProbe {
  private var values: [Float] = []  // [image][width]
  private var classes: [Int] = []
  private let width: Int

  init(width: Int) { self.width = width }

  /// `row` [width]; `label` is 0 or more.
  mutating func add(_ row: [Float], label: Int) {
    values += row
    classes.append(label)
  }

  /// Images whose class is the likeliest; of equals the first. O(images × width²).
  func correct() -> Int {
    let count = classes.count
    let kinds = (classes.max() ?? 0) + 1
    var mean = [Double](repeating: 0, count: width)
    for i in 0..<count { for j in 0..<width { mean[j] += Double(values[i * width + j]) } }
    for j in mean.indices { mean[j] /= Double(count) }
    var x = Matrix(rows: count, columns: width)
    var power = 0.0
    for i in 0..<count {
      for j in 0..<width {
        let value = Double(values[i * width + j]) - mean[j]
        x.values[i * width + j] = Float(value)
        power += value * value
      }
    }
    var shares = [Double](repeating: 0, count: kinds)
    for label in classes { shares[label] += 1 / Double(count) }
    var y = Matrix(rows: count, columns: kinds)
    for i in 0..<count {
      for kind in 0..<kinds {
        y.values[i * kinds + kind] = Float((classes[i] == kind ? 1 : 0) - shares[kind])
      }
    }

    // Weights [width][kinds] are (XᵀX + penalty)⁻¹ XᵀY.
    let turned = x.transposed
    var gram = turned.times(x).values.map(Double.init)
    let penalty = max(0.1 * power / Double(width), 1e-12)
    for j in 0..<width { gram[j * width + j] += penalty }
    guard let inverse = symmetricInverse(gram, width) else { return 0 }
    let solve = Matrix(rows: width, columns: width, values: inverse.map(Float.init))
    let z = x.times(solve)  // rows (XᵀX + penalty)⁻¹ x
    let predicted = z.times(turned.times(y))

    var correct = 0
    for i in 0..<count {
      var own = 1 / Double(count)
      for j in 0..<width {
        own += Double(z.values[i * width + j]) * Double(x.values[i * width + j])
      }
      var best = (kind: 0, score: -Double.infinity)
      for kind in 0..<kinds {
        let given = Double(y.values[i * kinds + kind])
        let fitted = Double(predicted.values[i * kinds + kind])
        let score = (fitted - own * given) / (1 - own) + shares[kind]
        if score > best.score { best = (kind, score) }
      }
      if best.kind == classes[i] { correct += 1 }
    }
    return correct
  }
}
