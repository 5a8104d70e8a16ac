// A session: made in the caller's memory, then stepped token by token or image by image.
// SPDX-License-Identifier: Apache-2.0

import CCurta
import CurtaFormat
import CurtaKernels

/// A model being run. The memory is the caller's; the value is a pointer to it.
public struct Session: @unchecked Sendable {
  let state: UnsafeMutablePointer<SessionState>

  init(_ state: UnsafeMutablePointer<SessionState>) { self.state = state }

  /// Checks all of `file` and makes a session in `arena`, `arenaSize` bytes aligned to 64.
  ///
  /// Throws the status of the first thing that is wrong with the file, the options or the memory.
  public static func make(
    file: ByteView, options: curta_options, arena: UnsafeMutableRawPointer, arenaSize: Int
  ) throws(CurtaError) -> Session {
    try make(file, options, arena, arenaSize, keepsWeights: true)
  }

  /// Makes all checks of `make` in `memory`, `size` bytes aligned to 64, that one tensor at a time
  /// fits in; nothing can be run.
  public static func check(
    file: ByteView, options: curta_options, memory: UnsafeMutableRawPointer, size: Int
  ) throws(CurtaError) {
    _ = try make(file, options, memory, size, keepsWeights: false)
  }

  private static func make(
    _ bytes: ByteView, _ options: curta_options, _ arena: UnsafeMutableRawPointer,
    _ arenaSize: Int, keepsWeights: Bool
  ) throws(CurtaError) -> Session {
    guard UInt(bitPattern: bytes.base) % UInt(alignment) == 0,
      UInt(bitPattern: arena) % UInt(alignment) == 0
    else { throw CurtaError(.unaligned) }
    let file = try CurtaFile(bytes)
    _ = try file.metadata()
    let plan = try Plan(file, options, keepsWeights: keepsWeights)
    guard UInt64(arenaSize) >= plan.total else { throw CurtaError(.arenaTooSmall) }
    try file.verifyPayload(
      options, threads: plan.sizes.threads, slots: arena.assumingMemoryBound(to: Int32.self))
    guard let kernels = Session.kernels(options.kernels) else { throw CurtaError(.unsupported) }

    var loader = Loader(
      file: file, base: arena, staging: arena + Int(plan.slots), options: options,
      threads: plan.sizes.threads, next: ArenaLayout())
    _ = try loader.next.take(plan.tokenizer, 1)
    var tokenizer: Tokenizer? = nil
    if file.tokenizerEntry >= 0 {
      tokenizer = try Tokenizer(loader.place(file.section(file.tokenizerEntry)))
    }
    let tensors = (arena + Int(plan.tensorTable)).assumingMemoryBound(to: TensorEntry.self)
    try loader.loadAll(plan, to: tensors)
    let working = arena + Int(plan.slots)
    working.initializeMemory(
      as: UInt8.self, repeating: 0, count: Int(plan.scratch.end - plan.slots))

    let state = arena.assumingMemoryBound(to: SessionState.self)
    state.initialize(
      to: SessionState(
        base: arena, file: file, program: plan.program, sizes: plan.sizes, scratch: plan.scratch,
        kernels: kernels, options: options, tensors: tensors,
        tensorsAhead: (arena + Int(plan.weights.tableAhead)).assumingMemoryBound(
          to: TensorEntry.self),
        descriptors: plan.tensors, weights: plan.weights, group: StreamGroup(),
        isDecodingAhead: false, isGroupHigh: false,
        buffers: (arena + Int(plan.bufferTable)).assumingMemoryBound(to: BufferEntry.self),
        states: (arena + Int(plan.stateTable)).assumingMemoryBound(to: StateEntry.self),
        tokenizer: tokenizer, decoder: nil, random: 1, past: 0, outputsMade: 0,
        tokens: UnsafePointer(bitPattern: 64)!, count: 0, outputs: 0, patches: 0,
        op: CurrentOp(), rotations: nil))
    let session = Session(state)
    try session.layBuffers(plan)
    session.seed(0)
    return session
  }

  /// Set `choice - 1`, or the fastest for 0; nil when there is no such set on this processor.
  private static func kernels(_ choice: UInt32) -> UnsafePointer<curta_kernels>? {
    if choice == 0 { return curta_kernels_best() }
    return choice <= curta_kernels_count() ? curta_kernels_at(choice - 1) : nil
  }

  /// Fills the tables of buffers and states with their places in the arena.
  private func layBuffers(_ plan: Plan) throws(CurtaError) {
    let base = state.pointee.base
    var layout = ArenaLayout()
    _ = try layout.take(plan.slots, 1)
    for slot in 0..<plan.program.slotCount {
      let start = base + Int(layout.end.value)
      _ = try layout.take(Plan.slotSize(slot, plan.program, plan.sizes), 1)
      for i in 0..<plan.program.bufferCount {
        let record = try plan.program.buffer(i)
        guard record.slot == slot else { continue }
        let parts = try BufferLayout(record, rows: plan.sizes.rows(record.rows))
        (state.pointee.buffers + Int(i)).initialize(
          to: BufferEntry(
            record: record, values: start.assumingMemoryBound(to: Int32.self),
            codes: curta_codes(
              codes: start.assumingMemoryBound(to: Int8.self),
              sums: (start + Int(parts.sums)).assumingMemoryBound(to: Int16.self),
              scales: (start + Int(parts.scales)).assumingMemoryBound(to: curta_scale.self),
              width: record.width, stride: parts.stride, scales_per_row: record.scales)))
      }
    }
    for i in 0..<plan.program.stateCount {
      let record = try plan.program.state(i)
      let rows = UInt64(record.heads) * UInt64(plan.sizes.positions)
      let codes = base + Int(try layout.take(rows, Int(record.width)))
      let scales = base + Int(try layout.take(rows, MemoryLayout<curta_scale>.stride))
      (state.pointee.states + Int(i)).initialize(
        to: StateEntry(
          heads: Int(record.heads), width: Int(record.width),
          codes: codes.assumingMemoryBound(to: Int8.self),
          scales: scales.assumingMemoryBound(to: curta_scale.self)))
    }
  }
}

// MARK: - Stepping

extension Session {
  /// Tokens fed so far.
  public var past: Int { state.pointee.past }
  public var vocabulary: Int { Int(state.pointee.program.vocabulary) }
  public var context: Int { Int(state.pointee.sizes.context) }
  public var chunk: Int { Int(state.pointee.sizes.chunk) }
  public var tokenizer: Tokenizer? { state.pointee.tokenizer }
  /// The instruction set in use.
  public var kernelsName: UnsafePointer<CChar> { state.pointee.kernels.pointee.name }

  /// Feeds 1 … chunk tokens and computes logits for the last `outputs` of them.
  ///
  /// Throws `badArgument` (a count or an id out of range), `contextFull` or `unsupported` (a program
  /// of images); nothing has then changed.
  public func step(
    _ tokens: UnsafePointer<Int32>, count: Int, outputs: Int
  ) throws(CurtaError) {
    guard state.pointee.program.image == nil else { throw CurtaError(.unsupported) }
    guard count >= 1, count <= chunk, outputs >= 1, outputs <= count,
      outputs <= Int(state.pointee.sizes.outputs)
    else { throw CurtaError(.badArgument) }
    guard count <= context - past else { throw CurtaError(.contextFull) }
    for i in 0..<count where tokens[i] < 0 || Int(tokens[i]) >= vocabulary {
      throw CurtaError(.badArgument, at: UInt64(i))
    }
    let recent = state.pointee.shared(state.pointee.scratch.recent, Int32.self)
    for i in 0..<count { recent[past + i] = tokens[i] }
    state.pointee.tokens = tokens
    state.pointee.count = count
    state.pointee.outputs = outputs
    try runAll()
    state.pointee.past += count
  }

  /// Runs every op over the step that has been set up.
  func runAll() throws(CurtaError) {
    state.pointee.outputsMade = 0
    state.pointee.rotations = nil
    state.pointee.isGroupHigh = false
    defer { finishDecodingAhead() }
    var ready: UInt32 = 0  // ops before it have their weights
    for i in 0..<state.pointee.program.opCount {
      if i == ready { ready = try bringWeights(from: i) }
      let record = try state.pointee.program.op(i)
      state.pointee.op.code = record.code
      for k in 1..<16 { state.pointee.op.operands[k] = try record.operand(k) }
      run()
    }
    state.pointee.outputsMade = state.pointee.outputs
  }

  /// Row `row` of the last step's logits, or of image `row`: [vocabulary], units of 2^-16; nil when there is none.
  public func logits(_ row: Int) -> UnsafePointer<Int32>? {
    guard row >= 0, row < state.pointee.outputsMade else { return nil }
    let buffer = state.pointee.buffers[Int(state.pointee.program.output)]
    return UnsafePointer(buffer.values + row * vocabulary)
  }

  /// Forgets all tokens from position `past` on.
  public func rewind(to past: Int) throws(CurtaError) {
    guard past >= 0, past <= self.past else { throw CurtaError(.badArgument) }
    state.pointee.past = past
    state.pointee.outputsMade = 0
  }
}
