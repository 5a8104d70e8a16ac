// The linear probe against classifiers that really are fitted without the image that they judge.
// SPDX-License-Identifier: Apache-2.0

import CurtaTestSupport
import Testing

@testable import CurtaEvaluate

@Suite struct LinearProbeTests {
  /// Solves A X = B for A [n][n] and B [n][m] by elimination; returns X.
  private func solved(_ a: [[Double]], _ b: [[Double]]) -> [[Double]] {
    var rows = zip(a, b).map { $0 + $1 }
    let n = a.count
    for i in 0..<n {
      let pivot = (i..<n).max { abs(rows[$0][i]) < abs(rows[$1][i]) }!
      rows.swapAt(i, pivot)
      for k in 0..<n where k != i {
        let factor = rows[k][i] / rows[i][i]
        for j in i..<rows[k].count { rows[k][j] -= factor * rows[i][j] }
      }
    }
    return (0..<n).map { i in rows[i][n...].map { $0 / rows[i][i] } }
  }

  @Test func leaveOneOutIsThatOfManyFits() {
    for seed in UInt64(1)...6 {
      var random = SeededRandom(seed)
      let (count, width, kinds) = (60, 5, 3)
      let labels = (0..<count).map { _ in random.below(kinds) }
      let rows = labels.map { label in
        (0..<width).map { j in
          Double(Float((j == label ? 25 : 0) + random.below(61) - 30) * (j == 4 ? 0.1 : 1) + 7)
        }
      }
      var probe = LinearProbe(width: width)
      for (row, label) in zip(rows, labels) { probe.add(row.map { Float($0) }, label: label) }

      // The penalty: a tenth of the mean variance, times the images; none on the intercept.
      let mean = (0..<width).map { j in rows.reduce(0) { $0 + $1[j] } / Double(count) }
      let power = rows.reduce(0.0) { sum, row in
        zip(row, mean).reduce(sum) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
      }
      let penalty = 0.1 * power / Double(width)
      var expected = 0
      for left in 0..<count {
        var gram = [[Double]](repeating: [Double](repeating: 0, count: width + 1), count: width + 1)
        var products = [[Double]](repeating: [Double](repeating: 0, count: kinds), count: width + 1)
        for i in 0..<count where i != left {
          let row = [1] + rows[i]
          for a in row.indices {
            for b in row.indices { gram[a][b] += row[a] * row[b] }
            products[a][labels[i]] += row[a]
          }
        }
        for j in 1...width { gram[j][j] += penalty }
        let weights = solved(gram, products)
        let scores = (0..<kinds).map { kind in
          zip([1] + rows[left], weights).reduce(0) { $0 + $1.0 * $1.1[kind] }
        }
        if scores.firstIndex(of: scores.max()!) == labels[left] { expected += 1 }
      }
      #expect(probe.correct() == expected, "seed \(seed)")
      #expect(expected > count / 3 && expected < count, "seed \(seed): too easy or too hard")
    }
  }
}
