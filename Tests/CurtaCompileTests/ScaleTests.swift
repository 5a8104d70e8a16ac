// Fixed points and dyadic factors that the converter chooses.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor
import Foundation
import Testing

@testable import CurtaCompile

@Suite struct ScaleTests {
  @Test(arguments: [
    (Float(1), 27), (2, 26), (1.5, 26), (100, 20), (0.1, 30), (1e9, 0), (1e30, 0), (0, 30),
  ])
  func fractionLeavesAFactorOfSixteen(largest: Float, fraction: Int) {
    let scale = FixedPoint(largest: largest, epsilon: 0)
    #expect(scale.fraction == fraction)
    if fraction > 0 { #expect(Double(largest) * pow(2, Double(fraction)) * 16 <= 0x1p31) }
  }

  @Test func epsilonIsInUnitsOfTheSquare() {
    let scale = FixedPoint(largest: 64, epsilon: 1e-5)
    #expect(scale.fraction == 21)
    #expect(scale.epsilon == UInt64((Double(Float(1e-5)) * 0x1p42).rounded()))
  }

  @Test func epsilonLowersTheFraction() {
    let scale = FixedPoint(largest: 0.05, epsilon: 1e-5)
    #expect(scale.epsilon <= 1 << 40)
    #expect(scale.fraction == 28)
    #expect(FixedPoint(largest: 1e9, epsilon: 1e-5).epsilon == 0)
  }

  @Test(arguments: [1.0, 0.5, 1.9999999, 0.18, 1e-6, 12345.678, 0.36067376022224085])
  func dyadicIsNear(value: Double) {
    let dyadic = Dyadic(value)
    #expect((1 << 15..<1 << 16).contains(dyadic.mantissa))
    let back = scalbn(Double(dyadic.mantissa), -dyadic.exponent)
    #expect(abs(back - value) <= value * 0x1p-16)
  }
}
