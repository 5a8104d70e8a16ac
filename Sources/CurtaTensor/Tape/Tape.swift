// Reverse-mode differentiation of the float layers: values with what they were computed from.
// SPDX-License-Identifier: Apache-2.0

import COpenBLAS

/// A matrix on a `Tape`, and the gradient of the outcome by it.
package final class Variable {
  package let value: Matrix
  /// Sum over all that read it; nil: nothing did, or nobody asked for it.
  package private(set) var gradient: Matrix?
  /// Whether a gradient by it is wanted.
  let isWanted: Bool

  /// A leaf of the computation.
  package init(_ value: Matrix, isWanted: Bool = true) {
    self.value = value
    self.isWanted = isWanted
  }

  func add(_ part: @autoclosure () -> Matrix) {
    guard isWanted else { return }
    if gradient == nil { gradient = part() } else { gradient?.add(part()) }
  }
}

/// Operations in the order in which they were done, to go back through (Linnainmaa 1970, as Griewank
/// and Walther's "Evaluating Derivatives" has it).
///
/// Every operation computes its value at once and keeps what its derivative needs. It may be used from
/// one thread; leaves must not be shared between tapes that go back at the same time.
package final class Tape {
  private var operations: [() -> Void] = []

  package init() {}

  /// Gradients of the sum of `output` · `gradient`, element by element, by all leaves.
  package func goBack(from output: Variable, gradient: Matrix) {
    output.add(gradient)
    for operation in operations.reversed() { operation() }
    operations = []
  }

  /// A value whose gradient is handed to `back`, where one of `inputs` wants one.
  func record(
    _ value: Matrix, _ inputs: [Variable?], _ back: @escaping (Matrix) -> Void
  ) -> Variable {
    let isWanted = inputs.contains { $0?.isWanted ?? false }
    let output = Variable(value, isWanted: isWanted)
    if isWanted { operations.append { if let gradient = output.gradient { back(gradient) } } }
    return output
  }

  /// x · wᵀ + bias, x [n][k], w [m][k], bias [1][m].
  package func linear(_ x: Variable, _ w: Variable, bias: Variable? = nil) -> Variable {
    record(
      x.value.through(LinearLayer(w.value, bias: bias?.value.values)), [x, w, bias]
    ) { gradient in
      x.add(gradient.times(w.value))
      w.add(gradient.transposedTimes(x.value))
      bias?.add(gradient.columnSums)
    }
  }

  /// a + b, element by element; b may be one row, which is added to each of a.
  package func add(_ a: Variable, _ b: Variable) -> Variable {
    var sum = a.value
    if b.value.rows == a.value.rows { sum.add(b.value) } else { sum.addToRows(b.value.values) }
    return record(sum, [a, b]) { gradient in
      a.add(gradient)
      b.add(b.value.rows == gradient.rows ? gradient : gradient.columnSums)
    }
  }

  package func subtract(_ a: Variable, _ b: Variable) -> Variable {
    record(a.value.minus(b.value), [a, b]) { gradient in
      a.add(gradient)
      b.add(Matrix(rows: gradient.rows, columns: gradient.columns).minus(gradient))
    }
  }

  /// a · b, element by element; b may be one row, which multiplies each of a.
  package func multiply(_ a: Variable, _ b: Variable) -> Variable {
    record(a.value.multiplied(by: b.value), [a, b]) { gradient in
      a.add(gradient.multiplied(by: b.value))
      let own = gradient.multiplied(by: a.value)
      b.add(b.value.rows == own.rows ? own : own.columnSums)
    }
  }

  /// What `transform` makes of x, as if it changed nothing: the straight-through estimator of roundings
  /// (Bengio et al. 2013, arXiv 1308.3432).
  package func passThrough(_ x: Variable, _ transform: (inout Matrix) -> Void) -> Variable {
    var value = x.value
    transform(&value)
    return record(value, [x]) { x.add($0) }
  }
}

extension Matrix {
  /// selfᵀ · other for self [n][m] and other [n][k]: [m][k].
  package func transposedTimes(_ other: Matrix) -> Matrix {
    precondition(rows == other.rows)
    var result = Matrix(rows: columns, columns: other.columns)
    guard rows > 0, columns > 0, other.columns > 0 else { return result }
    result.values.withUnsafeMutableBufferPointer { result in
      cblas_sgemm(
        CblasRowMajor, CblasTrans, CblasNoTrans, blasint(columns), blasint(other.columns),
        blasint(rows), 1, values, blasint(columns), other.values, blasint(other.columns), 0,
        result.baseAddress!, blasint(other.columns))
    }
    return result
  }

  /// self − other, element by element.
  package func minus(_ other: Matrix) -> Matrix {
    precondition(rows == other.rows && columns == other.columns)
    var result = self
    result.values.withUnsafeMutableBufferPointer { values in
      other.values.withUnsafeBufferPointer { other in
        for i in 0..<values.count { values[i] -= other[i] }
      }
    }
    return result
  }

  /// The sum of all rows, [1][columns].
  var columnSums: Matrix {
    var sums = Matrix(rows: 1, columns: columns)
    sums.values.withUnsafeMutableBufferPointer { sums in
      values.withUnsafeBufferPointer { values in
        for row in 0..<rows {
          for i in 0..<columns { sums[i] += values[row * columns + i] }
        }
      }
    }
    return sums
  }

  /// Element by element; `other` may be one row, which multiplies each.
  func multiplied(by other: Matrix) -> Matrix {
    precondition(columns == other.columns && (rows == other.rows || other.rows == 1))
    var result = self
    guard rows != other.rows else {
      result.multiply(other)
      return result
    }
    result.values.withUnsafeMutableBufferPointer { values in
      other.values.withUnsafeBufferPointer { factors in
        for row in 0..<rows {
          for i in 0..<columns { values[row * columns + i] *= factors[i] }
        }
      }
    }
    return result
  }
}
