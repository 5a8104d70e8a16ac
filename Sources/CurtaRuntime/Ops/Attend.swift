// attend: softmax attention over the int8 key and value caches.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat
import CurtaKernels

extension OpWork {
  /// First pass: for each (token, head) the weighted sum of values over its normalizer.
  ///
  /// Head by head, for its keys and values to meet several queries at once: those of rows one after
  /// the other, or, of one row alone, those of the heads with the same keys.
  func attend() {
    let query = buffer(1)
    let keys = state(2)
    let heads = Int(query.record.scales)
    let width = keys.width
    let positions = Int(session.pointee.sizes.positions)
    let isImage = session.pointee.program.image != nil
    // Rows of an image, or of the step.
    let span = isImage ? Int(session.pointee.sizes.context) : session.pointee.count
    let group = heads / keys.heads
    var code = curta_score_code()
    if op[10] != 0 {
      curta_make_score_code(
        UInt32(truncatingIfNeeded: op[10]), UInt32(truncatingIfNeeded: op[11]),
        UInt32(truncatingIfNeeded: op[12]), &code)
    }
    let share = SessionState.share(session.pointee.count * heads, part, parts)
    var item = share.lowerBound
    while item < share.upperBound {
      let image = item / (span * heads) * span
      let t = image + item % span
      let h = item / span % heads
      let left = span == 1 ? group - h % group : span - item % span
      let last = isImage ? image + span - 1 : session.pointee.past + t
      let stride = Int(query.codes.stride)
      let some = QueryGroup(
        codes: query.codes.codes + t * stride + h * width, stride: span == 1 ? width : stride,
        count: min(ScratchLayout.mostQueries, min(left, share.upperBound - item)),
        index: t * heads + h, step: span == 1 ? 1 : heads, head: h / group * positions, last: last,
        isCausal: !isImage && span > 1)
      attend(some, &code)
      item += some.count
    }
  }

  /// The queries that meet one head's keys and values together.
  private struct QueryGroup {
    let codes: UnsafePointer<Int8>
    let stride: Int  // from one query's codes to the next one's
    let count: Int
    let index: Int  // [token][head] of the first
    let step: Int  // from one index to the next
    let head: Int  // the row of the first position in keys and values
    let last: Int  // the last position that the first query sees
    let isCausal: Bool  // each query sees a position more
  }

  private func attend(_ queries: QueryGroup, _ code: inout curta_score_code) {
    let query = buffer(1)
    let keys = state(2)
    let values = state(3)
    let width = keys.width
    let window = op[5]
    let multiplier = curta_scale(m: op.operands[6], e: Int32(bitPattern: op.operands[7]))
    let cap = op[9] == 0 ? nil : SoftCap(op.operands[9])
    let out = session.pointee.shared(session.pointee.scratch.attendValues, Int32.self)
    let exponents = session.pointee.shared(session.pointee.scratch.attendExponents, Int32.self)
    let reciprocals = scratch.wide

    let isImage = session.pointee.program.image != nil
    let image = Int(session.pointee.sizes.context)
    let first = isImage ? queries.last + 1 - image : firstSeen(queries.last, window)
    let end = queries.last + (queries.isCausal ? queries.count : 1)
    let start = queries.head + first
    let all = end - first
    kernels.scores(
      queries.codes, queries.stride, UInt32(queries.count), keys.codes + start * width,
      UInt32(width), UInt32(all), scratch.scores, all)

    for r in 0..<queries.count {
      let index = queries.index + r * queries.step
      // What this one sees of the positions from `first` on.
      let last = queries.last + (queries.isCausal ? r : 0)
      let from = isImage ? 0 : firstSeen(last, window) - first
      let n = UInt32(last - first + 1 - from)
      let scores = scratch.scores + r * all + from
      let codes = scratch.codes + r * all
      let scale = Fixed.multiply(query.codes.scales[index], multiplier)
      var largest = kernels.score_logits(
        scores, keys.scales + start + from, n, scale.m, scale.e &- 30)
      if let cap {  // never decreases: the largest stays the largest
        for j in 0..<Int(n) { scores[j] = cap(scores[j]) }
        largest = cap(largest)
      }
      if op[10] != 0 { kernels.code_logits(scores, n, largest, &code) }
      var total: UInt64 = 0
      var least: Int32 = 0
      let weight = kernels.score_weights(
        scores, values.scales + start + from, n, largest, &total, &least)
      let s = max(0, Fixed.bits(UInt64(weight)) - 15)
      let weights = UnsafeRawPointer(scores).assumingMemoryBound(to: UInt32.self)
      for j in 0..<from { codes[j] = 0 }
      kernels.narrow_weights(
        weights, values.scales + start + from, n, least, UInt32(s), codes + from)
      for j in from + Int(n)..<all { codes[j] = 0 }
      let bits = Fixed.bits(total)
      reciprocals[r] = Int32(truncatingIfNeeded: (1 << UInt64(15 + bits)) / total)
      exponents[index] = 15 &+ bits &+ least &- s
    }

    kernels.weighted_sum(
      scratch.codes, all, UInt32(queries.count), values.codes + start * width, UInt32(width),
      UInt32(all), scratch.sums)
    for r in 0..<queries.count {
      let index = queries.index + r * queries.step
      let s = kernels.scaled_sums(
        scratch.sums + r * width, UInt32(width), UInt32(bitPattern: reciprocals[r]),
        out + index * width)
      exponents[index] = exponents[index] &- Int32(truncatingIfNeeded: s)
    }
  }

  /// The first position that attention from position `last` sees; a window of 0 is none.
  private func firstSeen(_ last: Int, _ window: Int) -> Int {
    window == 0 ? 0 : max(0, last - window + 1)
  }

  /// Second pass: brings the heads of a token to one exponent and quantizes them together.
  func attendQuantize() {
    let out = buffer(4)
    let heads = Int(buffer(1).record.scales)
    let width = Int(out.record.width) / heads
    let values = session.pointee.shared(session.pointee.scratch.attendValues, Int32.self)
    let exponents = session.pointee.shared(session.pointee.scratch.attendExponents, Int32.self)
    let zeros = UnsafeMutableRawPointer(scratch.sums).assumingMemoryBound(to: Int32.self)
    zeros.update(repeating: 0, count: width)
    for t in rows(4) {
      var least = exponents[t * heads]
      for h in 1..<max(heads, 1) { least = min(least, exponents[t * heads + h]) }
      for h in 0..<heads {
        // round(x, shift) of x * 2^15 is added to 0.
        let shift = min(exponents[t * heads + h] &- least, 62)
        let target = scratch.wide + h * width
        kernels.add_rescaled(
          target, zeros, values + t * heads * width + h * width, UInt32(width), 1 << 15,
          15 &+ shift)
      }
      let scale = curta_scale(m: 1 << 15, e: least &+ 15)
      quantizeRow(scratch.wide, scale, hadamard: op[8], to: out.codes, row: t)
    }
  }
}
