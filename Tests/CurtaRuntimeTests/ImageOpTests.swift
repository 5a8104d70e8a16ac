// Formats/vectors/arithmetic of the ops of images, each run alone inside a real session.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat
import CurtaKernels
import CurtaTestSupport
import Testing

@testable import CurtaRuntime

@Suite struct ImageOpTests {
  /// quantize, which is spread.
  @Test func quantize() throws {
    for kernels in kernelSets {
      for var f in try arithmetic("spread") {
        let x = f.list(Int32.self)
        let bench = try OpBench(kernels, width: x.count)
        bench.numbers(0, x, f.scale())
        bench.place(1, .codes8, width: x.count, scales: 1)
        bench.run(.quantize, 0, 1, f.number())
        #expect(bench.codes(1) == f.list() && bench.scales(1) == [f.scale()], "\(f.line)")
        #expect(bench.values(0) == x)
      }
    }
  }

  /// The codes of all patches, with their scales, sums and padding.
  @Test func patchify() throws {
    for var f in try arithmetic("patchify") {
      let (height, width, channels) = (f.number(Int.self), f.number(Int.self), f.number(Int.self))
      let patch = (f.number(Int.self), f.number(Int.self))
      let model = ImageModel(
        size: (height, width), channels: channels, patch: patch, prefix: 0, layers: 0)
      let session = try TestSession(model.f.build(), Setup(outputs: 2))
      let image = TestImage(
        height: height, width: width, channels: channels, pixels: f.list(UInt8.self))
      try session.set(1, image)
      try session.runOp(0, images: 2)
      let out = session.state.pointee.buffers[Int(model.codes)].codes
      let expected = f.list(Int8.self)
      let size = patch.0 * patch.1 * channels
      let count = height * width * channels / size
      for p in 0..<count {
        let row = out.codes + (count + p) * Int(out.stride)
        let codes = Array(UnsafeBufferPointer(start: row, count: Int(out.stride)))
        #expect(
          Array(codes.prefix(size)) == Array(expected[p * size..<(p + 1) * size]), "\(f.line)")
        #expect(codes.dropFirst(size).allSatisfy { $0 == 0 })
        #expect(out.scales[count + p] == curta_scale(m: 32768, e: 15))
        for block in 0..<Int(out.stride) / 32 {
          let sum = codes[32 * block..<32 * block + 32].reduce(0) { $0 + Int($1) }
          #expect(Int(out.sums[(count + p) * Int(out.stride) / 32 + block]) == sum)
        }
      }
      // Image 0 was never set: it is black.
      #expect(out.codes[0] == -127)
    }
  }

  @Test func prefix() throws {
    for kernels in kernelSets {
      for var f in try arithmetic("prefix") {
        let width = f.number(Int.self)
        let codes = f.list(Int16.self)
        let mantissas = f.list(UInt16.self)
        let exponent = f.number(Int32.self)
        let z = f.list(Int32.self)
        let scales = f.scales()
        let model = ImageModel(
          size: (z.count / width, 1), channels: 1, patch: (1, 1), prefix: mantissas.count,
          width: width, layers: 0, fraction: f.number(UInt32.self))
        let session = try TestSession(model.f.build(), Setup(kernels: 1))
        session.state.pointee.kernels = kernels
        let buffers = session.state.pointee.buffers
        buffers[Int(model.patches)].values.update(from: z, count: z.count)
        buffers[Int(model.patches)].codes.scales.update(from: scales, count: scales.count)
        codes.withUnsafeBufferPointer { codes in
          mantissas.withUnsafeBufferPointer { mantissas in
            if !codes.isEmpty {
              let entry = session.state.pointee.tensors + Int(model.rows)
              entry.pointee.weight.codes = UnsafeRawPointer(codes.baseAddress!)
              entry.pointee.weight.mantissas = mantissas.baseAddress!
              entry.pointee.weight.exponent = exponent
            }
            try? session.runOp(UInt32(model.prefix))
          }
        }
        let expected = f.list(Int32.self)
        let out = UnsafeBufferPointer(
          start: buffers[Int(model.x)].values, count: expected.count)
        #expect(Array(out) == expected, "\(f.line)")
      }
    }
  }

  @Test func pool() throws {
    for var f in try arithmetic("pool") {
      let (rows, width) = (f.number(Int.self), f.number(Int.self))
      let x = f.list(Int32.self)
      var model = ImageModel(
        size: (rows, 1), channels: 1, patch: (1, 1), prefix: 0, width: width, layers: 0)
      model.f.ops[model.pool][3] = f.number()
      model.f.ops[model.pool][4] = f.number()
      let session = try TestSession(model.f.build(), Setup(outputs: 2))
      let buffers = session.state.pointee.buffers
      (buffers[Int(model.x)].values + x.count).update(from: x, count: x.count)
      try session.runOp(UInt32(model.pool), images: 2)
      let out = UnsafeBufferPointer(
        start: buffers[Int(model.pooled)].values + width, count: width)
      #expect(Array(out) == f.list(), "\(f.line)")
    }
  }

  /// Means at the ends of int32, against a sum made by hand.
  @Test func poolOfLargeNumbers() throws {
    let model = ImageModel(size: (9, 1), channels: 1, patch: (1, 1), prefix: 0, width: 2, layers: 0)
    let session = try TestSession(model.f.build(), Setup())
    let buffers = session.state.pointee.buffers
    for i in 0..<9 {
      buffers[Int(model.x)].values[2 * i] = Int32.max
      buffers[Int(model.x)].values[2 * i + 1] = i < 4 ? -Int32.max : -Int32.max + 1
    }
    try session.runOp(UInt32(model.pool))
    let out = buffers[Int(model.pooled)].values
    #expect(out[0] == Int32.max && out[1] == -Int32.max + 1)  // -max + 5/9
  }
}
