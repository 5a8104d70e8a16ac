// attend: softmax attention over the int8 key and value caches.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat
import CurtaKernels

extension OpWork {
  /// First pass: for each (token, head) the weighted sum of values over its normalizer.
  func attend() {
    let query = buffer(1)
    let keys = state(2)
    let values = state(3)
    let window = op[5]
    let multiplier = curta_scale(m: op.operands[6], e: Int32(bitPattern: op.operands[7]))
    let cap = op[9] == 0 ? nil : SoftCap(op.operands[9])
    let isCoded = op[10] != 0
    var code = curta_score_code()
    if isCoded {
      curta_make_score_code(
        UInt32(truncatingIfNeeded: op[10]), UInt32(truncatingIfNeeded: op[11]),
        UInt32(truncatingIfNeeded: op[12]), &code)
    }
    let heads = Int(query.record.scales)
    let width = keys.width
    let positions = Int(session.pointee.sizes.positions)
    let isImage = session.pointee.program.image != nil
    let context = Int(session.pointee.sizes.context)
    let out = session.pointee.shared(session.pointee.scratch.attendValues, Int32.self)
    let exponents = session.pointee.shared(session.pointee.scratch.attendExponents, Int32.self)

    var scores = scratch.scores
    var ready = 0  // rows of scores after the current one
    let share = SessionState.share(session.pointee.count * heads, part, parts)
    for item in share {
      var t = item / heads
      var h = item % heads
      var last = session.pointee.past + t
      var first = window == 0 ? 0 : max(0, last - window + 1)
      if isImage {  // all rows of the image; head by head, for its keys to meet many rows at once
        first = item / (context * heads) * context
        last = first + context - 1
        t = first + item % context
        h = item / context % heads
      }
      let start = h / (heads / keys.heads) * positions + first
      let n = UInt32(last - first + 1)

      if ready > 0 {
        ready -= 1
        scores += Int(n)
      } else {
        let stride = Int(query.codes.stride)
        let left = min(context - item % context, share.upperBound - item)
        let rows = isImage ? min(ScratchLayout.scoreRows, left) : 1
        scores = scratch.scores
        kernels.scores(
          query.codes.codes + t * stride + h * width, stride, UInt32(rows),
          keys.codes + start * width, UInt32(width), n, scores, Int(n))
        ready = rows - 1
      }
      let scale = Fixed.multiply(query.codes.scales[t * heads + h], multiplier)
      var largest = kernels.score_logits(
        scores, keys.scales + start, n, scale.m, scale.e &- 30)
      if let cap {  // never decreases: the largest stays the largest
        for j in 0..<Int(n) { scores[j] = cap(scores[j]) }
        largest = cap(largest)
      }
      if isCoded { kernels.code_logits(scores, n, largest, &code) }
      var total: UInt64 = 0
      var least: Int32 = 0
      let weight = kernels.score_weights(
        scores, values.scales + start, n, largest, &total, &least)
      let s = max(0, Fixed.bits(UInt64(weight)) - 15)
      let weights = UnsafeRawPointer(scores).assumingMemoryBound(to: UInt32.self)
      kernels.narrow_weights(
        weights, values.scales + start, n, least, UInt32(s), scratch.codes)
      kernels.weighted_sum(
        scratch.codes, values.codes + start * width, UInt32(width), n, scratch.sums)

      let bits = Fixed.bits(total)
      let reciprocal = UInt32(truncatingIfNeeded: (1 << UInt64(15 + bits)) / total)
      let s2 = kernels.scaled_sums(
        scratch.sums, UInt32(width), reciprocal, out + (t * heads + h) * width)
      exponents[t * heads + h] = 15 &+ bits &+ least &- s &- Int32(truncatingIfNeeded: s2)
    }
  }

  /// Second pass: brings the heads of a token to one exponent and quantizes them together.
  func attendQuantize() {
    let out = buffer(4)
    let heads = Int(buffer(1).record.scales)
    let width = Int(out.record.width) / heads
    let values = session.pointee.shared(session.pointee.scratch.attendValues, Int32.self)
    let exponents = session.pointee.shared(session.pointee.scratch.attendExponents, Int32.self)
    for t in rows(4) {
      var least = exponents[t * heads]
      for h in 1..<max(heads, 1) { least = min(least, exponents[t * heads + h]) }
      for h in 0..<heads {
        let shift = min(exponents[t * heads + h] &- least, 62)
        let source = values + t * heads * width + h * width
        let target = scratch.wide + h * width
        for i in 0..<width {
          target[i] = Int32(truncatingIfNeeded: Fixed.round(Int64(source[i]), shift))
        }
      }
      let scale = curta_scale(m: 1 << 15, e: least &+ 15)
      quantizeRow(scratch.wide, scale, hadamard: op[8], to: out.codes, row: t)
    }
  }
}
