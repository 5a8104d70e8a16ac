// Which weights a session keeps, and where those go that each step brings anew.
// SPDX-License-Identifier: Apache-2.0
//
// With a limit the first tensors are kept while there is room. The others are streamed: ops are cut
// into groups whose weights fit together, and those of a group are brought when its first op comes,
// over those of the group before. Where they are decoded while the group before computes, groups are
// half as large, and lie at the one and the other end of a window that holds any two neighbours.

import CurtaFormat

/// Where the weights of a session lie.
struct WeightPlan {
  /// Tensors that are kept; those from here on are streamed.
  let kept: UInt32
  /// Weights of a group of ops at most, in the arena and in the file; one op may have as many.
  let group: UInt64
  /// Whether a group is decoded while the one before it computes.
  let decodesAhead: Bool
  /// Where streamed tensors are decoded, from the start of the arena.
  let window: UInt64
  let windowEnd: UInt64
  /// What the tensors of a group take while they are decoded by all threads, at most.
  let stepStaging: UInt64
  let stepStagingSize: UInt64
  /// TensorEntry [tensors], filled while tensors are decoded ahead.
  let tableAhead: UInt64
  /// What any one tensor takes, in memory that is idle while the file is loaded.
  let staging: UInt64

  /// Takes the arena's part; `limit` 0 keeps all tensors, nil none, as nothing is to run.
  init(
    _ file: CurtaFile, _ tensors: TensorTable, _ program: Program, _ sizes: SessionSizes,
    limit: UInt64?, _ layout: inout ArenaLayout
  ) throws(CurtaError) {
    var all = CheckedSize.zero
    var largest: UInt64 = 0
    for i in 0..<tensors.count {
      let needs = try TensorNeeds(tensors[i], file)
      all = try all.plus(needs.weight)
      largest = max(largest, needs.weight)
    }
    let isRunning = limit != nil
    let limit = limit ?? 1
    var kept: UInt32 = 0
    if limit == 0 || all.value <= limit && isRunning {
      kept = tensors.count
      group = 0
      decodesAhead = false
    } else {
      decodesAhead = isRunning && sizes.mayDecodeAhead
      var least = largest  // what is not kept takes at most
      var before: UInt64 = 0
      for i in 0..<program.opCount where isRunning {
        let weight = try WeightPlan.weight(of: program.op(i), tensors, file)
        guard weight > 0 else { continue }
        largest = max(largest, weight)
        least = max(least, decodesAhead ? try CheckedSize(before).plus(weight).value : weight)
        before = weight
      }
      group = decodesAhead ? largest / 2 : largest
      if decodesAhead { least = max(least, try CheckedSize(largest).plus(group).value) }
      var room = limit > least ? limit - least : 0
      while kept < tensors.count {
        let needs = try TensorNeeds(tensors[kept], file)
        guard needs.weight <= room else { break }
        room -= needs.weight
        kept += 1
      }
    }
    self.kept = kept

    var staging: UInt64 = 0
    var widest: UInt64 = 0
    for i in 0..<tensors.count {
      let needs = try TensorNeeds(tensors[i], file)
      staging = max(staging, needs.staging)
      if i < kept {
        _ = try layout.take(needs.arena, 1)
      } else {
        widest = max(widest, needs.arena)
      }
    }
    self.staging = staging
    window = layout.end.value
    var stepStaging: UInt64 = 0
    if kept < tensors.count, isRunning {
      var op: UInt32 = 0
      var before: UInt64 = 0
      while op < program.opCount {
        var group = StreamGroup()
        try group.fill(from: op, kept: kept, most: self.group, program, tensors, file)
        widest = max(widest, try CheckedSize(before).plus(group.batch.size).value)
        stepStaging = max(
          stepStaging, try group.batch.stagingSize(threads: sizes.threads))
        op = group.end
        before = decodesAhead ? group.batch.size : 0
      }
    }
    _ = try layout.take(widest, 1)
    windowEnd = layout.end.value
    self.stepStaging = windowEnd
    stepStagingSize = stepStaging
    _ = try layout.take(stepStagingSize, 1)
    tableAhead = layout.end.value
    if decodesAhead {
      _ = try layout.take(UInt64(tensors.count), MemoryLayout<TensorEntry>.stride)
    }
  }

  /// Bytes of the weights that an op reads.
  private static func weight(
    of op: OpRecord, _ tensors: TensorTable, _ file: CurtaFile
  ) throws(CurtaError) -> UInt64 {
    var sum = CheckedSize.zero
    let operands = try op.tensorOperands
    for k in 1..<16 where operands & (1 << UInt16(k)) != 0 {
      let tensor = try op.operand(k)
      if tensor != Program.none { sum = try sum.plus(TensorNeeds(tensors[tensor], file).weight) }
    }
    return sum.value
  }
}
