// A row-major float32 matrix and its products, the one bridge to OpenBLAS.
// SPDX-License-Identifier: Apache-2.0

import COpenBLAS

/// A dense matrix, `values[row * columns + column]`.
public struct Matrix: Sendable, Equatable {
  public let rows: Int
  public let columns: Int
  /// [rows][columns] float32; a writer keeps the count at rows × columns.
  public var values: [Float]

  /// A matrix of the given values, [rows][columns].
  public init(rows: Int, columns: Int, values: [Float]) {
    precondition(rows >= 0 && columns >= 0 && values.count == rows * columns)
    self.rows = rows
    self.columns = columns
    self.values = values
  }

  /// A matrix of zeros.
  public init(rows: Int, columns: Int) {
    self.init(rows: rows, columns: columns, values: [Float](repeating: 0, count: rows * columns))
  }

  public subscript(row: Int, column: Int) -> Float {
    get { values[index(row, column)] }
    set { values[index(row, column)] = newValue }
  }

  private func index(_ row: Int, _ column: Int) -> Int {
    precondition(row >= 0 && row < rows && column >= 0 && column < columns)
    return row * columns + column
  }

  /// The values of one row, [columns].
  public func row(_ row: Int) -> ArraySlice<Float> {
    precondition(row >= 0 && row < rows)
    return values[row * columns..<(row + 1) * columns]
  }

  /// [columns][rows]
  public var transposed: Matrix {
    var result = Matrix(rows: columns, columns: rows)
    result.values.withUnsafeMutableBufferPointer { result in
      for row in 0..<rows {
        for column in 0..<columns { result[column * rows + row] = values[row * columns + column] }
      }
    }
    return result
  }

  /// X·Wᵀ for X = self [n][k] and W [m][k]; the result is [n][m]. This is a linear layer.
  public func times(transposed other: Matrix) -> Matrix {
    precondition(columns == other.columns)
    var result = Matrix(rows: rows, columns: other.rows)
    guard rows > 0, other.rows > 0, columns > 0 else { return result }
    values.withUnsafeBufferPointer { x in
      other.values.withUnsafeBufferPointer { w in
        result.values.withUnsafeMutableBufferPointer { y in
          gemm(
            FloatPanel(x.baseAddress!, rows: rows, columns: columns, stride: columns),
            transposed: FloatPanel(
              w.baseAddress!, rows: other.rows, columns: columns, stride: columns),
            into: y.baseAddress!, stride: other.rows)
        }
      }
    }
    return result
  }

  /// X·W for X = self [n][k] and W [k][m]; the result is [n][m].
  public func times(_ other: Matrix) -> Matrix {
    precondition(columns == other.rows)
    var result = Matrix(rows: rows, columns: other.columns)
    guard rows > 0, other.columns > 0, columns > 0 else { return result }
    values.withUnsafeBufferPointer { x in
      other.values.withUnsafeBufferPointer { w in
        result.values.withUnsafeMutableBufferPointer { y in
          gemm(
            FloatPanel(x.baseAddress!, rows: rows, columns: columns, stride: columns),
            FloatPanel(
              w.baseAddress!, rows: columns, columns: other.columns, stride: other.columns),
            into: y.baseAddress!, stride: other.columns)
        }
      }
    }
    return result
  }
}

/// A strided window on somebody else's floats: `base[row * stride + column]`.
struct FloatPanel {
  let base: UnsafePointer<Float>
  let rows: Int
  let columns: Int
  let stride: Int

  init(_ base: UnsafePointer<Float>, rows: Int, columns: Int, stride: Int) {
    self.base = base
    self.rows = rows
    self.columns = columns
    self.stride = stride
  }
}

/// y [n][m] = scale · a [n][k] · bᵀ, b [m][k].
func gemm(
  _ a: FloatPanel, transposed b: FloatPanel, scale: Float = 1,
  into y: UnsafeMutablePointer<Float>, stride: Int
) {
  cblas_sgemm(
    CblasRowMajor, CblasNoTrans, CblasTrans, blasint(a.rows), blasint(b.rows), blasint(a.columns),
    scale, a.base, blasint(a.stride), b.base, blasint(b.stride), 0, y, blasint(stride))
}

/// y [n][m] = a [n][k] · b [k][m].
func gemm(
  _ a: FloatPanel, _ b: FloatPanel, into y: UnsafeMutablePointer<Float>, stride: Int
) {
  cblas_sgemm(
    CblasRowMajor, CblasNoTrans, CblasNoTrans, blasint(a.rows), blasint(b.columns),
    blasint(a.columns), 1, a.base, blasint(a.stride), b.base, blasint(b.stride), 0, y,
    blasint(stride))
}

/// The kind of processor that OpenBLAS works for; on another one its sums may round otherwise.
public var processorOfProducts: String { String(cString: openblas_get_corename()) }

/// The kind of processor that OpenBLAS should work for, where it does not know this one and computes as
/// on those of 2004, several times slower; nil where it is right.
public var betterProcessorOfProducts: String? {
  guard processorOfProducts == "Prescott", let name = curta_blas_kernels() else { return nil }
  return String(cString: name)
}
