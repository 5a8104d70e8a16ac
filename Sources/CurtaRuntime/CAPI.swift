// The C functions of curta.h over the Swift types.
// SPDX-License-Identifier: Apache-2.0
// The names are those of the header.
// swift-format-ignore-file: AlwaysUseLowerCamelCase

import CCurta
import CurtaFormat
import CurtaKernels

/// Copies the caller's struct of `struct_size` bytes over the defaults; nil when it is too large or
/// ends inside a pointer.
private func options(_ given: UnsafePointer<curta_options>?) -> curta_options? {
  var result = curta_default_options()
  guard let given else { return result }
  let size = Int(given.pointee.struct_size)
  guard size > 0, size <= MemoryLayout<curta_options>.size, size % MemoryLayout<Int>.size == 0
  else { return nil }
  withUnsafeMutablePointer(to: &result) {
    UnsafeMutableRawPointer($0).copyMemory(from: given, byteCount: size)
  }
  return result
}

func session(_ pointer: OpaquePointer?) -> Session? {
  pointer.map { Session(UnsafeMutablePointer<SessionState>($0)) }
}

@c @implementation
public func curta_version() -> UInt32 {
  UInt32(CURTA_VERSION_MAJOR * 10000 + CURTA_VERSION_MINOR * 100 + CURTA_VERSION_PATCH)
}

@c @implementation
public func curta_default_options() -> curta_options {
  var options = curta_options()
  options.struct_size = UInt32(MemoryLayout<curta_options>.size)
  return options
}

@c @implementation
public func curta_plan(
  _ file: UnsafeRawPointer!, _ fileSize: Int, _ given: UnsafePointer<curta_options>!,
  _ info: UnsafeMutablePointer<curta_plan_info>!
) -> curta_status {
  guard let info, info.pointee.struct_size == MemoryLayout<curta_plan_info>.size else {
    return Status.badArgument.rawValue
  }
  var result = curta_plan_info()
  result.struct_size = info.pointee.struct_size
  info.pointee = result
  guard let file, fileSize >= 0, let options = options(given) else {
    return Status.badArgument.rawValue
  }
  do throws(CurtaError) {
    guard UInt(bitPattern: file) % UInt(alignment) == 0 else { throw CurtaError(.unaligned) }
    let curta = try CurtaFile(ByteView(file, count: fileSize))
    _ = try curta.metadata()
    let plan = try Plan(curta, options)
    info.pointee = plan.info(identity: curta.identity)
    info.pointee.check_bytes = try Plan(curta, options, keepsWeights: false).total
    return Status.ok.rawValue
  } catch {
    info.pointee.error_section = error.section
    info.pointee.error_offset = error.offset
    return error.status.rawValue
  }
}

@c @implementation
public func curta_session_init(
  _ file: UnsafeRawPointer!, _ fileSize: Int, _ given: UnsafePointer<curta_options>!,
  _ arena: UnsafeMutableRawPointer!, _ arenaSize: Int, _ out: UnsafeMutablePointer<OpaquePointer?>!
) -> curta_status {
  guard let file, fileSize >= 0, let arena, arenaSize >= 0, let out, let options = options(given)
  else { return Status.badArgument.rawValue }
  do throws(CurtaError) {
    let made = try Session.make(
      file: ByteView(file, count: fileSize), options: options, arena: arena, arenaSize: arenaSize)
    out.pointee = OpaquePointer(made.state)
    return Status.ok.rawValue
  } catch {
    return error.status.rawValue
  }
}

@c @implementation
public func curta_check(
  _ file: UnsafeRawPointer!, _ fileSize: Int, _ given: UnsafePointer<curta_options>!,
  _ memory: UnsafeMutableRawPointer!, _ size: Int
) -> curta_status {
  guard let file, fileSize >= 0, let memory, size >= 0, let options = options(given)
  else { return Status.badArgument.rawValue }
  do throws(CurtaError) {
    try Session.check(
      file: ByteView(file, count: fileSize), options: options, memory: memory, size: size)
    return Status.ok.rawValue
  } catch {
    return error.status.rawValue
  }
}

@c @implementation
public func curta_step(
  _ pointer: OpaquePointer!, _ tokens: UnsafePointer<Int32>!, _ count: Int, _ outputs: Int
) -> curta_status {
  guard let session = session(pointer), let tokens else { return Status.badArgument.rawValue }
  do throws(CurtaError) {
    try session.step(tokens, count: count, outputs: outputs)
    return Status.ok.rawValue
  } catch {
    return error.status.rawValue
  }
}

@c @implementation
public func curta_logits(_ pointer: OpaquePointer!, _ row: Int) -> UnsafePointer<Int32>! {
  session(pointer)?.logits(row)
}

@c @implementation
public func curta_past(_ pointer: OpaquePointer!) -> Int { session(pointer)?.past ?? 0 }

@c @implementation
public func curta_rewind(_ pointer: OpaquePointer!, _ past: Int) -> curta_status {
  guard let session = session(pointer) else { return Status.badArgument.rawValue }
  do throws(CurtaError) {
    try session.rewind(to: past)
    return Status.ok.rawValue
  } catch {
    return error.status.rawValue
  }
}

@c @implementation
public func curta_seed(_ pointer: OpaquePointer!, _ seed: UInt64) {
  session(pointer)?.seed(seed)
}

@c @implementation
public func curta_sample(
  _ pointer: OpaquePointer!, _ sampling: UnsafePointer<curta_sampling>!,
  _ token: UnsafeMutablePointer<Int32>!
) -> curta_status {
  guard let session = session(pointer), let sampling, let token,
    sampling.pointee.struct_size == MemoryLayout<curta_sampling>.size
  else { return Status.badArgument.rawValue }
  do throws(CurtaError) {
    token.pointee = try session.sample(sampling.pointee)
    return Status.ok.rawValue
  } catch {
    return error.status.rawValue
  }
}

@c @implementation
public func curta_encode(
  _ pointer: OpaquePointer!, _ text: UnsafePointer<CChar>!, _ size: Int,
  _ tokens: UnsafeMutablePointer<Int32>!, _ capacity: Int, _ count: UnsafeMutablePointer<Int>!,
  _ scratch: UnsafeMutableRawPointer!, _ scratchSize: Int
) -> curta_status {
  guard let session = session(pointer), let text, let tokens, let count, let scratch else {
    return Status.badArgument.rawValue
  }
  guard let tokenizer = session.tokenizer else { return Status.unsupported.rawValue }
  do throws(CurtaError) {
    count.pointee = try tokenizer.encode(
      UnsafeRawPointer(text).assumingMemoryBound(to: UInt8.self), size, addBos: true,
      parseSpecial: false, into: tokens, capacity: capacity, scratch: scratch,
      scratchBytes: scratchSize)
    return Status.ok.rawValue
  } catch {
    return error.status.rawValue
  }
}

@c @implementation
public func curta_encode_scratch(_ pointer: OpaquePointer!, _ textSize: Int) -> Int {
  session(pointer)?.tokenizer?.scratchBytes(forTextBytes: textSize) ?? 0
}

@c @implementation
public func curta_decode(
  _ pointer: OpaquePointer!, _ token: Int32, _ text: UnsafeMutablePointer<CChar>!,
  _ capacity: Int, _ size: UnsafeMutablePointer<Int>!
) -> curta_status {
  guard let session = session(pointer), let text, let size, capacity >= 0 else {
    return Status.badArgument.rawValue
  }
  do throws(CurtaError) {
    size.pointee = try session.decode(
      token, into: UnsafeMutableRawPointer(text).assumingMemoryBound(to: UInt8.self),
      capacity: capacity)
    return Status.ok.rawValue
  } catch {
    return error.status.rawValue
  }
}

@c @implementation
public func curta_is_end(_ pointer: OpaquePointer!, _ token: Int32) -> Int32 {
  session(pointer)?.tokenizer?.isEnd(token) == true ? 1 : 0
}

@c @implementation
public func curta_session_save_size(_ pointer: OpaquePointer!) -> Int {
  guard let session = session(pointer) else { return 0 }
  do throws(CurtaError) { return try session.savedSize() } catch { return 0 }
}

@c @implementation
public func curta_session_save(
  _ pointer: OpaquePointer!, _ bytes: UnsafeMutableRawPointer!, _ capacity: Int,
  _ size: UnsafeMutablePointer<Int>!
) -> curta_status {
  guard let session = session(pointer), let bytes, capacity >= 0, let size else {
    return Status.badArgument.rawValue
  }
  do throws(CurtaError) {
    size.pointee = try session.save(to: bytes, capacity: capacity)
    return Status.ok.rawValue
  } catch {
    return error.status.rawValue
  }
}

@c @implementation
public func curta_session_restore(
  _ pointer: OpaquePointer!, _ bytes: UnsafeRawPointer!, _ size: Int
) -> curta_status {
  guard let session = session(pointer), let bytes, size >= 0 else {
    return Status.badArgument.rawValue
  }
  do throws(CurtaError) {
    try session.restore(from: ByteView(bytes, count: size))
    return Status.ok.rawValue
  } catch {
    return error.status.rawValue
  }
}

extension Plan {
  /// The plan as the caller sees it.
  func info(identity: UInt64) -> curta_plan_info {
    var info = curta_plan_info()
    info.struct_size = UInt32(MemoryLayout<curta_plan_info>.size)
    info.context = sizes.context
    info.chunk = sizes.chunk
    info.outputs = sizes.outputs
    info.threads = sizes.threads
    info.vocabulary = program.vocabulary
    info.arena_bytes = total
    info.session_bytes = sessionEnd
    info.weight_bytes = weightsEnd - sessionEnd
    info.buffer_bytes = slotsEnd - slots
    info.state_bytes = statesEnd - states
    info.scratch_bytes = total - statesEnd
    info.identity = identity
    return info
  }
}

extension Session {
  /// The text that `token` adds to what was decoded before; -1 ends the text and begins a new one.
  public func decode(
    _ token: Int32, into text: UnsafeMutablePointer<UInt8>, capacity: Int
  ) throws(CurtaError) -> Int {
    guard let tokenizer = state.pointee.tokenizer else { throw CurtaError(.unsupported) }
    var decoder = state.pointee.decoder ?? TokenDecoder(tokenizer, atStart: true)
    let size: Int
    if token == -1 {
      size = try decoder.flush(into: text, capacity: capacity)
      decoder = TokenDecoder(tokenizer, atStart: true)
    } else {
      size = try decoder.decode(token, into: text, capacity: capacity)
    }
    state.pointee.decoder = decoder
    return size
  }
}
