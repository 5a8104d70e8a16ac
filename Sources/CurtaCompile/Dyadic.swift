// Real factors as the program holds them.
// SPDX-License-Identifier: Apache-2.0

import Glibc

/// A real number as m · 2^−e with 2^15 <= m < 2^16.
struct Dyadic: Equatable, Sendable {
  let mantissa: Int
  let exponent: Int

  /// The nearest one to a positive number.
  init(_ value: Double) {
    precondition(value > 0 && value.isFinite)
    var exponent = 15 - Int(value.exponent)
    var mantissa = Int(scalbn(value, exponent).rounded())
    if mantissa == 1 << 16 {
      mantissa = 1 << 15
      exponent -= 1
    }
    self.mantissa = mantissa
    self.exponent = exponent
  }
}
