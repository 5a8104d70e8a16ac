// The stored form of a section: as it is, one zstd frame, or one raw lz4 block.
// SPDX-License-Identifier: Apache-2.0

import CLZ4
import CZstd
import CurtaFormat

/// How the writer picks the codec of the tokenizer and data sections.
public enum CodecChoice: Sendable, Equatable {
  /// The smallest form; `stored` when the saving is below 1/32 (`Formats/curta-file.md` section 5).
  case auto
  /// This codec for every section, but `stored` where a reader would refuse it (MAX_RATIO).
  case forced(Codec)
}

/// The codecs of `Formats/curta-file.md` section 5.
///
/// The same bytes come out for the same input and the same release of the library.
public enum SectionCodec {
  private static let zstdLevel: Int32 = 19
  private static let lz4Level: Int32 = 12

  /// Releases of the libraries.
  public static var versions: String {
    "zstd \(String(cString: ZSTD_versionString())), lz4 \(String(cString: LZ4_versionString()))"
  }

  /// The stored form of `bytes`, not empty. Throws `WriteError.codec` where a library fails.
  public static func encode(
    _ bytes: [UInt8], _ choice: CodecChoice
  ) throws(WriteError) -> (codec: Codec, bytes: [UInt8]) {
    switch choice {
    case .forced(.stored): return (.stored, bytes)
    case .forced(let codec):
      guard let form = try compress(bytes, codec) else { return (.stored, bytes) }
      return (codec, form)
    case .auto:
      var best: (codec: Codec, bytes: [UInt8]) = (.stored, bytes)
      for codec in [Codec.zstd, .lz4] {
        if codec == .lz4, lz4IsHopeless(bytes, beside: best.bytes.count) { continue }
        if let form = try compress(bytes, codec), form.count < best.bytes.count {
          best = (codec, form)
        }
      }
      return (bytes.count - best.bytes.count) * 32 < bytes.count ? (.stored, bytes) : best
    }
  }

  /// The form by one codec, or nil where the format does not allow it.
  private static func compress(_ bytes: [UInt8], _ codec: Codec) throws(WriteError) -> [UInt8]? {
    let form: [UInt8]?
    switch codec {
    case .stored: return bytes
    case .zstd: form = try zstd(bytes)
    case .lz4: form = try lz4(bytes)
    }
    guard let form, UInt64(bytes.count) <= Limits.ratio * UInt64(form.count) else { return nil }
    return form
  }

  /// The smaller of a frame with matches and one without any, which for codes is the smaller one and is
  /// made in no time: where a quick search for matches gives a larger one, there is no thorough search.
  private static func zstd(_ bytes: [UInt8]) throws(WriteError) -> [UInt8] {
    let plain = try zstd(bytes, literalsOnly)
    let quick = try zstd(bytes, [(ZSTD_c_compressionLevel, zstdLevel), (ZSTD_c_searchLog, 1)])
    guard quick.count < plain.count else { return plain }
    let best = try zstd(bytes, [(ZSTD_c_compressionLevel, zstdLevel)])
    return best.count < plain.count ? best : plain
  }

  private typealias Parameters = [(ZSTD_cParameter, Int32)]

  /// Next to no search, and Huffman codes all the same (`ZSTD_c_literalCompressionMode`).
  private static let literalsOnly: Parameters = [
    (ZSTD_c_strategy, Int32(ZSTD_fast.rawValue)), (ZSTD_c_hashLog, 6), (ZSTD_c_minMatch, 7),
    (ZSTD_c_targetLength, 1 << 17), (ZSTD_c_experimentalParam5, 1),
  ]

  /// One frame with its content size, no checksum, no dictionary and a window of at most 2^20.
  private static func zstd(
    _ bytes: [UInt8], _ parameters: Parameters
  ) throws(WriteError) -> [UInt8] {
    guard let context = ZSTD_createCCtx() else {
      throw .codec(name: "zstd", reason: "out of memory")
    }
    defer { ZSTD_freeCCtx(context) }
    let windowLog = Int32(Limits.window.trailingZeroBitCount)
    for (parameter, value) in parameters + [
      (ZSTD_c_windowLog, windowLog), (ZSTD_c_contentSizeFlag, 1), (ZSTD_c_checksumFlag, 0),
      (ZSTD_c_dictIDFlag, 0),
    ] {
      try check(ZSTD_CCtx_setParameter(context, parameter, value))
    }
    var form = [UInt8](repeating: 0, count: ZSTD_compressBound(bytes.count))
    let size = ZSTD_compress2(context, &form, form.count, bytes, bytes.count)
    try check(size)
    return Array(form[..<size])
  }

  private static func check(_ result: Int) throws(WriteError) {
    guard ZSTD_isError(result) == 0 else {
      throw .codec(name: "zstd", reason: String(cString: ZSTD_getErrorName(result)))
    }
  }

  /// Whether the fast lz4 of the first 64 KiB takes over half more than their share of `size`: the slow
  /// one saves less than that, and takes minutes for millions of codes of few bits.
  private static func lz4IsHopeless(_ bytes: [UInt8], beside size: Int) -> Bool {
    let count = min(bytes.count, 1 << 16)
    var form = [UInt8](repeating: 0, count: Int(LZ4_compressBound(Int32(count))))
    let fast = bytes.withUnsafeBytes {
      LZ4_compress_default($0.baseAddress!, &form, Int32(count), Int32(form.count))
    }
    return fast > 0 && Double(fast) / Double(count) > 1.5 * Double(size) / Double(bytes.count)
  }

  /// One raw block; nil where the library does not take so many bytes.
  private static func lz4(_ bytes: [UInt8]) throws(WriteError) -> [UInt8]? {
    guard bytes.count <= Int(LZ4_MAX_INPUT_SIZE) else { return nil }
    let bound = LZ4_compressBound(Int32(bytes.count))
    let form = [UInt8](unsafeUninitializedCapacity: Int(bound)) { form, count in
      count = bytes.withUnsafeBytes { bytes in
        Int(
          LZ4_compress_HC(
            bytes.baseAddress, UnsafeMutableRawPointer(form.baseAddress), Int32(bytes.count),
            bound, lz4Level))
      }
    }
    guard !form.isEmpty else { throw .codec(name: "lz4", reason: "the block does not fit") }
    return form
  }
}
