// The valid files of Formats/vectors that take images: right bits, however the images are stepped.
// SPDX-License-Identifier: Apache-2.0

import CCurta
import CurtaFormat
import CurtaTestSupport
import Testing

@testable import CurtaRuntime

@Suite struct ImageVectorTests {
  @Test func thereAreVectors() { #expect(ImageVector.all.count >= 8) }

  @Test(arguments: ImageVector.all)
  func rowsAreTheReferences(_ vector: ImageVector) throws {
    let file = GuardedBytes(vector.bytes)
    for kernels in [0, 1] as [UInt32] {
      for batch in [1, 3, vector.images.count] {
        for threads: UInt32 in 1...3 {
          for runner in threads == 1 ? [Runner.forward] : Runner.allCases {
            let setup = Setup(
              outputs: UInt32(batch), threads: threads, kernels: kernels, runner: runner)
            let session = try TestSession(file, setup)
            let images = vector.images(channels: Int(try session.image.channels))
            #expect(hash(try session.run(images, batch: batch)) == vector.rowsHash, "\(setup)")
            #expect(session.info.chunk == 0 && session.info.outputs == UInt32(batch))
            #expect(session.arena.canariesAreWhole && file.canariesAreWhole)
          }
        }
      }
    }
  }

  /// Every part of every op apart, whatever its size.
  @Test(arguments: ImageVector.all)
  func everyOpMayBeSplit(_ vector: ImageVector) throws {
    for parts in [2, 3, 7] {
      let n = vector.images.count
      let setup = Setup(outputs: UInt32(n), threads: UInt32(parts), kernels: 1)
      let session = try TestSession(vector.bytes, setup)
      for (i, image) in vector.images(channels: Int(try session.image.channels)).enumerated() {
        try session.set(i, image)
      }
      for i in 0..<session.state.pointee.program.opCount {
        try session.runOp(i, images: n, parts: parts)
      }
      session.state.pointee.outputsMade = n
      #expect(hash((0..<n).flatMap { session.logits($0)! }) == vector.rowsHash)
    }
  }
}
