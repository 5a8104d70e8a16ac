// CheckedSize and ByteView: sums, products and windows that fail instead of wrapping.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat
import CurtaTestSupport
import Testing

@Suite struct CheckedSizeTests {
  static let edges: [UInt64] =
    [0, 1, 2, 3, 63, 64, 65, 1 << 31, 1 << 32 - 1, 1 << 32, 1 << 32 + 1, 1 << 61]
    + [CheckedSize.maximum - 64, CheckedSize.maximum - 1, CheckedSize.maximum]
    + [CheckedSize.maximum + 1, 1 << 63 - 1, 1 << 63, UInt64.max - 63, UInt64.max - 3, UInt64.max]

  private func size(_ value: UInt64) -> CheckedSize? { try? CheckedSize(value) }

  /// The exact value when it is at most 2^62, else nil.
  private func exact(_ high: UInt64, _ low: UInt64) -> UInt64? {
    high == 0 && low <= CheckedSize.maximum ? low : nil
  }

  @Test func sumsAndProductsAreExactOrFail() {
    for a in CheckedSizeTests.edges {
      #expect(size(a)?.value == exact(0, a))
      guard let x = size(a) else { continue }
      for b in CheckedSizeTests.edges {
        let (sum, carry) = a.addingReportingOverflow(b)
        let valid = b <= CheckedSize.maximum
        #expect((try? x.plus(b))?.value == (valid ? exact(carry ? 1 : 0, sum) : nil))
        let (high, low) = a.multipliedFullWidth(by: b)
        #expect((try? x.times(b))?.value == (valid ? exact(high, low) : nil), "\(a) * \(b)")
      }
    }
  }

  @Test func alignmentRoundsUpOrFails() {
    for a in CheckedSizeTests.edges {
      guard let x = size(a) else { continue }
      let up = (a + 63) / 64 * 64
      #expect((try? x.aligned(to: 64))?.value == exact(0, up))
    }
  }

  @Test func viewsStayInside() {
    let bytes: [UInt8] = [0, 1, 2, 3, 4, 5, 6, 7, 8]
    withView(bytes) { whole in
      for offset in 0...12 as ClosedRange<UInt64> {
        for length in 0...12 as ClosedRange<UInt64> {
          let part = try? whole.view(offset, length)
          #expect((part != nil) == (offset + length <= 9))
          if let part {
            #expect(part.count == Int(length) && part.base == whole.base + Int(offset))
          }
        }
      }
      for hostile in [1 << 31, 1 << 32, 1 << 63, UInt64.max - 8, UInt64.max] {
        #expect(throws: CurtaError.self) { _ = try whole.view(hostile, 0) }
        #expect(throws: CurtaError.self) { _ = try whole.view(0, hostile) }
        #expect(throws: CurtaError.self) { _ = try whole.view(hostile, 9) }
        #expect(throws: CurtaError.self) { _ = try whole.view(9, hostile) }
        #expect(throws: CurtaError.self) { _ = try whole.view(1, hostile) }
      }
      #expect((try? whole.u64(1)) == 0x0807_0605_0403_0201)
      #expect((try? whole.i32(5)) == 0x0807_0605)
      for bad in [-1, 2, 9, 10, Int.max, Int.min] {
        #expect(throws: CurtaError.self) { _ = try whole.u64(bad) }
      }
      #expect(throws: CurtaError.self) { _ = try whole.u8(9) }
      #expect(throws: CurtaError.self) { _ = try whole.u16(8) }
    }
  }
}
