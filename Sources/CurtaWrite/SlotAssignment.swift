// Which buffers share memory: an interval colouring of their lifetimes.
// SPDX-License-Identifier: Apache-2.0

/// A stretch of ops, both ends included, during which a buffer needs its slot.
private struct Interval {
  var first: Int
  var last: Int
}

extension ProgramDescription {
  /// Gives every buffer a slot and sets `slotCount`.
  ///
  /// A buffer needs its slot from each op that writes it afresh to the last op that reads that
  /// value, ends included, and the output buffer to the end of the program; buffers whose
  /// lifetimes meet get different slots, so an op never shares one between its operands. Buffers
  /// are taken in the order of their first write and get, of the slots that are free, the one that
  /// grows least, of equal ones the lowest: as few slots as the greedy rule can do, and the same
  /// ones every time. Throws `WriteError.invalid` where an op reads a buffer that was not written.
  public mutating func assignSlots() throws(WriteError) {
    let lifetimes = try lifetimes()
    let order = buffers.indices.sorted {
      let (a, b) = (lifetimes[$0].first?.first ?? .max, lifetimes[$1].first?.first ?? .max)
      return a == b ? $0 < $1 : a < b
    }
    var slots: [(intervals: [Interval], bytes: Int)] = []
    for buffer in order {
      let needed = buffers[buffer].nominalBytes
      let free = slots.indices.filter { !meet(slots[$0].intervals, lifetimes[buffer]) }
      let best = free.min {
        let (a, b) = (max(0, needed - slots[$0].bytes), max(0, needed - slots[$1].bytes))
        return a == b ? $0 < $1 : a < b
      }
      let slot = best ?? slots.count
      if best == nil { slots.append(([], 0)) }
      slots[slot].intervals += lifetimes[buffer]
      slots[slot].intervals.sort { $0.first < $1.first }
      slots[slot].bytes = max(slots[slot].bytes, needed)
      buffers[buffer].slot = slot
    }
    slotCount = slots.count
  }

  /// Lifetimes of every buffer, ascending and disjoint.
  private func lifetimes() throws(WriteError) -> [[Interval]] {
    var lifetimes = [[Interval]](repeating: [], count: buffers.count)
    for (index, op) in ops.enumerated() {
      for buffer in op.reads + op.writes where !buffers.indices.contains(buffer) {
        throw .invalid(part: "op \(index) (\(op.name))", reason: "there is no buffer \(buffer)")
      }
      for buffer in op.reads {
        guard !lifetimes[buffer].isEmpty else {
          throw .invalid(
            part: "op \(index) (\(op.name))",
            reason: "buffer \(buffer) is read before it is written")
        }
        lifetimes[buffer][lifetimes[buffer].count - 1].last = index
      }
      for buffer in op.writes where !op.reads.contains(buffer) {
        lifetimes[buffer].append(Interval(first: index, last: index))
      }
    }
    guard buffers.indices.contains(output), !lifetimes[output].isEmpty else {
      throw .invalid(part: "program", reason: "no op writes the output buffer \(output)")
    }
    lifetimes[output][lifetimes[output].count - 1].last = ops.count
    return lifetimes
  }
}

/// Whether two ascending lists of intervals have an op in common.
private func meet(_ a: [Interval], _ b: [Interval]) -> Bool {
  var (i, j) = (0, 0)
  while i < a.count, j < b.count {
    if a[i].last < b[j].first {
      i += 1
    } else if b[j].last < a[i].first {
      j += 1
    } else {
      return true
    }
  }
  return false
}

extension BufferDescription {
  /// Bytes for a step of 32 tokens or patches and one output: only an order for the choice of slots.
  fileprivate var nominalBytes: Int {
    let elementBytes: Int
    switch kind {
    case .fixed, .scaled: elementBytes = 4
    case .codes8: elementBytes = 1
    }
    return width * elementBytes * (rows == .outputs ? 1 : 32)
  }
}
