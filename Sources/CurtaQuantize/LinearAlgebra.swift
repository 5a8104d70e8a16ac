// Products and factors of the solvers: the same bits on any number of cores.
// SPDX-License-Identifier: Apache-2.0

import COpenBLAS
import Synchronization

/// OpenBLAS on the calling thread alone.
///
/// Its threads would share out a product by their number, and the solvers spread rows over the cores
/// themselves. Calls nest, from any thread.
package enum SingleThreadedBLAS {
  private static let users = Mutex((count: 0, threads: Int32(1)))

  package static func run<Result, Failure: Error>(
    _ body: () throws(Failure) -> Result
  ) throws(Failure) -> Result {
    users.withLock {
      if $0.count == 0 {
        $0.threads = openblas_get_num_threads()
        openblas_set_num_threads(1)
      }
      $0.count += 1
    }
    defer {
      users.withLock {
        $0.count -= 1
        if $0.count == 0 { openblas_set_num_threads($0.threads) }
      }
    }
    return try body()
  }
}

/// c [m][n] += aᵀ · b with a [k][m] and b [k][n], whose rows are `strideA` and `strideB` numbers apart.
func addProduct(
  transposed a: UnsafePointer<Float>, _ strideA: Int, _ b: UnsafePointer<Float>, _ strideB: Int,
  to c: UnsafeMutablePointer<Float>, m: Int, n: Int, k: Int
) {
  guard m > 0, n > 0, k > 0 else { return }
  cblas_sgemm(
    CblasRowMajor, CblasTrans, CblasNoTrans, blasint(m), blasint(n), blasint(k), 1, a,
    blasint(strideA), b, blasint(strideB), 1, c, blasint(n))
}

/// c [m][n] = a [m][k] · b [k][n] in double precision.
func product(
  _ a: UnsafePointer<Double>, _ b: UnsafePointer<Double>, into c: UnsafeMutablePointer<Double>,
  m: Int, n: Int, k: Int
) {
  guard m > 0, n > 0, k > 0 else { return }
  cblas_dgemm(
    CblasRowMajor, CblasNoTrans, CblasNoTrans, blasint(m), blasint(n), blasint(k), 1, a,
    blasint(k), b, blasint(n), 0, c, blasint(n))
}

/// c [m][n] = aᵀ · b with a [k][m] and b [k][n] in double precision.
func product(
  transposed a: UnsafePointer<Double>, _ b: UnsafePointer<Double>,
  into c: UnsafeMutablePointer<Double>, m: Int, n: Int, k: Int
) {
  guard m > 0, n > 0, k > 0 else { return }
  cblas_dgemm(
    CblasRowMajor, CblasTrans, CblasNoTrans, blasint(m), blasint(n), blasint(k), 1, a, blasint(m),
    b, blasint(n), 0, c, blasint(n))
}

/// The upper triangular U with U·Uᵀ = `matrix` [n][n], symmetric; nil where it is not positive
/// definite. Below the diagonal is what was there.
func upperFactor(_ matrix: [Double], _ n: Int) -> [Double]? {
  // LAPACK has RᵀR. With rows and columns in reverse order, U is R read from its end.
  var factor: [Double] = matrix.reversed()
  var info: blasint = 0
  var size = blasint(n)
  factor.withUnsafeMutableBufferPointer { factor in
    guard let base = factor.baseAddress else { return }
    var stride = size
    dpotrf_("U", &size, base, &stride, &info)
  }
  guard info == 0 else { return nil }
  return factor.reversed()
}

/// The upper triangular U with Uᵀ·U = `matrix` [n][n], symmetric; nil where it is not positive
/// definite. Below the diagonal is what was there.
func upperRoot(_ matrix: [Double], _ n: Int) -> [Double]? {
  var factor = matrix
  var info: blasint = 0
  var size = blasint(n)
  factor.withUnsafeMutableBufferPointer { factor in
    guard let base = factor.baseAddress else { return }
    var stride = size
    dpotrf_("L", &size, base, &stride, &info)  // columns there are rows here
  }
  return info == 0 ? factor : nil
}

/// The inverse of `matrix` [n][n], symmetric; nil where it is not positive definite.
package func symmetricInverse(_ matrix: [Double], _ n: Int) -> [Double]? {
  var result = matrix
  var info: blasint = 0
  var size = blasint(n)
  result.withUnsafeMutableBufferPointer { result in
    guard let base = result.baseAddress else { return }
    var stride = size
    dpotrf_("U", &size, base, &stride, &info)
    if info == 0 { dpotri_("U", &size, base, &stride, &info) }
    // The half that was written, rows and columns swapped, is the lower one.
    for i in 0..<n { for j in i + 1..<max(n, i + 1) { base[i * n + j] = base[j * n + i] } }
  }
  return info == 0 ? result : nil
}

/// Rows x [count][n] with x · `matrix` = `rows`, for a symmetric matrix [n][n]; nil where it is not
/// positive definite.
func solutions(_ matrix: [Double], _ n: Int, rows: [Double]) -> [Double]? {
  guard n > 0, !rows.isEmpty else { return rows }
  var (factor, result) = (matrix, rows)
  var info: blasint = 0
  var (size, count) = (blasint(n), blasint(rows.count / n))
  factor.withUnsafeMutableBufferPointer { factor in
    result.withUnsafeMutableBufferPointer { result in
      var (stride, between) = (size, size)
      dposv_(
        "U", &size, &count, factor.baseAddress!, &stride, result.baseAddress!, &between, &info)
    }
  }
  return info == 0 ? result : nil
}

/// c [m][n] −= a [m][k] · b [k][n] in double precision.
func subtractProduct(
  _ a: [Double], _ b: [Double], from c: inout [Double], m: Int, n: Int, k: Int
) {
  guard m > 0, n > 0, k > 0 else { return }
  cblas_dgemm(
    CblasRowMajor, CblasNoTrans, CblasNoTrans, blasint(m), blasint(n), blasint(k), -1, a,
    blasint(k), b, blasint(n), 1, &c, blasint(n))
}
