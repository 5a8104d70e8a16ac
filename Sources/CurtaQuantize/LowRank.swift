// A matrix as a product of two smaller ones, the best for a layer's outputs.
// SPDX-License-Identifier: Apache-2.0

import COpenBLAS
import CurtaTensor

/// Two tensors, B [rows][r] and A [r][columns], in place of each of the layers' weights or besides them.
///
/// As JSON: `{"share": 0.5}`, or with the weights kept in the bits of their rule `{"residual": 0.1}`.
public struct LowRankRule: Sendable, Equatable {
  /// The part of the rank at which A and B have as many cells as the weights.
  public var share: Double
  /// Whether A and B are added to the quantized weights, and have 8 bits.
  public var keepsBase: Bool

  public init(share: Double, keepsBase: Bool) {
    self.share = share
    self.keepsBase = keepsBase
  }

  /// r for weights of that shape: a multiple of 16, for the Hadamard of what comes between, where 16
  /// fits.
  public func rank(rows: Int, columns: Int) -> Int {
    let equal = Double(rows * columns) / Double(rows + columns)
    return min(max(Int((share * equal / 16).rounded()) * 16, 16), rows, columns)
  }
}

extension LowRankRule: Codable {
  private enum Keys: String, CodingKey, CaseIterable { case share, residual }

  public init(from decoder: any Decoder) throws {
    let object = try StrictObject(decoder, "'low_rank'", allowed: Keys.allCases.map(\.rawValue))
    let (whole, residual) = (
      try object.value(Double.self, "share"), try object.value(Double.self, "residual")
    )
    guard let share = whole ?? residual, whole == nil || residual == nil else {
      throw RecipeProblem(reason: "'low_rank' has either 'share' or 'residual'")
    }
    guard share > 0, share <= 1 else {
      throw RecipeProblem(reason: "'low_rank' has \(share); it is above 0 and at most 1")
    }
    self.init(share: share, keepsBase: residual != nil)
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: Keys.self)
    try container.encode(share, forKey: keepsBase ? .residual : .share)
  }
}

/// The factors of least Σ (w − w') H (w − w')ᵀ.
public enum LowRank {
  /// A [rank][columns] of the best product of that rank.
  ///
  /// That product is the singular value decomposition of W L with H = L Lᵀ, cut off, times L⁻¹ (PELA,
  /// Guo et al. 2023, arXiv 2310.10700, without training; L as in SVD-LLM, Wang et al. 2024, arXiv
  /// 2403.07378). With U the first left singular vectors, which are eigenvectors of W H Wᵀ, it is
  /// U Uᵀ W: A = Uᵀ W, and L is not needed. Without `hessian` all inputs count alike. Cost: 4/3 · rows³
  /// and rows · columns · (rows + columns) multiplications in double precision. Throws `QuantizeError`.
  public static func right(
    of weights: Matrix, rank: Int, _ hessian: Hessian?
  ) throws(QuantizeError) -> Matrix {
    let (rows, columns) = (weights.rows, weights.columns)
    guard rank >= 1, rank <= min(rows, columns) else {
      throw .unsupported("rank \(rank) of \(rows) by \(columns) weights")
    }
    try check(weights, hessian)
    let values = weights.values.map(Double.init)
    return try SingleThreadedBLAS.run { () throws(QuantizeError) in
      // (W H) Wᵀ, from columns of numbers beside one another.
      let images = times(values, hessian, rows, columns)
      var moments = [Double](repeating: 0, count: rows * rows)
      product(
        transposed: transposed(images, rows, columns), transposed(values, rows, columns),
        into: &moments, m: rows, n: rows, k: columns)
      guard let vectors = largestVectors(moments, rows, count: rank) else {
        throw .unsupported("weights without a singular value decomposition")
      }
      var result = [Double](repeating: 0, count: rank * columns)
      product(vectors, values, into: &result, m: rank, n: columns, k: rows)
      return Matrix(rows: rank, columns: columns, values: result.map { Float($0) })
    }
  }

  /// B [rows][rank] that makes the best of `right` [rank][columns], and the moments of right · x.
  ///
  /// B = W H Aᵀ (A H Aᵀ)⁻¹, damped as little as it takes. Throws `QuantizeError`.
  public static func left(
    of weights: Matrix, behind right: Matrix, _ hessian: Hessian?
  ) throws(QuantizeError) -> (left: Matrix, moments: Hessian) {
    try check(weights, hessian)
    try check(right, hessian)
    let (rows, columns, rank) = (weights.rows, weights.columns, right.rows)
    let a = right.values.map(Double.init)
    return try SingleThreadedBLAS.run { () throws(QuantizeError) in
      let images = transposed(times(a, hessian, rank, columns), rank, columns)  // H Aᵀ
      var moments = [Double](repeating: 0, count: rank * rank)
      product(a, images, into: &moments, m: rank, n: rank, k: columns)
      for i in 0..<rank {
        for j in 0..<i {
          let mean = (moments[i * rank + j] + moments[j * rank + i]) / 2
          (moments[i * rank + j], moments[j * rank + i]) = (mean, mean)
        }
      }
      var targets = [Double](repeating: 0, count: rows * rank)
      product(
        weights.values.map(Double.init), images, into: &targets, m: rows, n: rank, k: columns)
      let mean = (0..<rank).reduce(0) { $0 + moments[$1 * (rank + 1)] } / Double(rank)
      for damping in [1e-9, 1e-6, 1e-3, 1] {
        var damped = moments
        for i in 0..<rank { damped[i * (rank + 1)] += mean > 0 ? damping * mean : 1 }
        if let solved = solutions(damped, rank, rows: targets), solved.allSatisfy(\.isFinite) {
          let left = Matrix(rows: rows, columns: rank, values: solved.map { Float($0) })
          return (
            left, try Hessian(columns: rank, values: moments, samples: hessian?.samples ?? 1)
          )
        }
      }
      throw .unsupported("second moments that are not positive definite")
    }
  }

  private static func check(_ weights: Matrix, _ hessian: Hessian?) throws(QuantizeError) {
    guard weights.rows > 0, weights.columns > 0 else { throw .unsupported("an empty matrix") }
    guard hessian.map({ $0.columns == weights.columns }) ?? true else {
      throw .unsupported("moments of other columns than the \(weights.columns) of the weights")
    }
    if let place = weights.values.firstIndex(where: { !$0.isFinite }) {
      throw .notFinite(row: place / weights.columns, column: place % weights.columns)
    }
  }

  /// values [rows][columns] · H.
  private static func times(
    _ values: [Double], _ hessian: Hessian?, _ rows: Int, _ columns: Int
  ) -> [Double] {
    guard let hessian else { return values }
    var result = [Double](repeating: 0, count: rows * columns)
    product(values, hessian.values, into: &result, m: rows, n: columns, k: columns)
    return result
  }

  private static func transposed(_ values: [Double], _ rows: Int, _ columns: Int) -> [Double] {
    var result = [Double](repeating: 0, count: values.count)
    for row in 0..<rows {
      for column in 0..<columns { result[column * rows + row] = values[row * columns + column] }
    }
    return result
  }
}

/// The eigenvectors of `matrix` [n][n], symmetric, with the `count` largest eigenvalues, largest first,
/// [count][n]; nil where there are none. The element of largest size of each is positive.
private func largestVectors(_ matrix: [Double], _ n: Int, count: Int) -> [Double]? {
  var matrix = matrix
  var (size, stride, between) = (blasint(n), blasint(n), blasint(n))
  var (first, last) = (blasint(n - count + 1), blasint(n))
  var (low, high, tolerance) = (0.0, 0.0, 0.0)
  var (found, info) = (blasint(0), blasint(0))
  var values = [Double](repeating: 0, count: n)
  var vectors = [Double](repeating: 0, count: n * count)
  var support = [blasint](repeating: 0, count: 2 * count)
  var (workSize, integerSize) = (blasint(26 * n), blasint(10 * n))
  var work = [Double](repeating: 0, count: 26 * n)
  var integers = [blasint](repeating: 0, count: 10 * n)
  dsyevr_(
    "V", "I", "U", &size, &matrix, &stride, &low, &high, &first, &last, &tolerance, &found, &values,
    &vectors, &between, &support, &work, &workSize, &integers, &integerSize, &info)
  guard info == 0, found == blasint(count) else { return nil }
  var result: [Double] = []
  result.reserveCapacity(n * count)
  for i in (0..<count).reversed() {
    let vector = vectors[i * n..<(i + 1) * n]
    let largest = vector.max { abs($0) < abs($1) } ?? 1
    result += largest < 0 ? vector.map { -$0 } : Array(vector)
  }
  return result
}
