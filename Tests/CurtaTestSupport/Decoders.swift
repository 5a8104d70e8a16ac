// zstd and LZ4 through the shared libraries of the system.
// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A function of a shared library; the test stops when there is none.
private func symbol<T>(_ library: String, _ name: String, _ type: T.Type) -> T {
  guard let handle = dlopen(library, RTLD_NOW), let address = dlsym(handle, name) else {
    fatalError("\(library) with \(name): apt install libzstd1 liblz4-1")
  }
  return unsafeBitCast(address, to: type)
}

private typealias Code =
  @convention(c) (
    UnsafeMutableRawPointer?, Int, UnsafeRawPointer?, Int
  ) -> Int
private typealias CodeAt =
  @convention(c) (
    UnsafeMutableRawPointer?, Int, UnsafeRawPointer?, Int, Int32
  ) -> Int
private typealias LZ4 =
  @convention(c) (
    UnsafeRawPointer?, UnsafeMutableRawPointer?, Int32, Int32
  ) -> Int32

public enum Library {
  private static let zstdDecompress = symbol("libzstd.so.1", "ZSTD_decompress", Code.self)
  private static let zstdCompress = symbol("libzstd.so.1", "ZSTD_compress", CodeAt.self)
  private static let lz4Compress = symbol("liblz4.so.1", "LZ4_compress_default", LZ4.self)

  /// A `curta_decode_function`.
  public static let decodeZstd:
    @convention(c) (
      UnsafeMutableRawPointer?, UnsafeRawPointer?, Int, UnsafeMutableRawPointer?, Int
    ) -> Int32 = { _, source, sourceSize, target, targetSize in
      zstdDecompress(target, targetSize, source, sourceSize) == targetSize ? 0 : 1
    }

  public static func zstd(_ bytes: [UInt8], level: Int32 = 3) -> [UInt8] {
    var out = [UInt8](repeating: 0, count: bytes.count + 1024)
    let size = zstdCompress(&out, out.count, bytes, bytes.count, level)
    return Array(out.prefix(size))
  }

  public static func lz4(_ bytes: [UInt8]) -> [UInt8] {
    var out = [UInt8](repeating: 0, count: bytes.count + bytes.count / 100 + 1024)
    let size = lz4Compress(bytes, &out, Int32(bytes.count), Int32(out.count))
    return Array(out.prefix(Int(size)))
  }
}

/// Runners that split work, as a session's `parallel`: in order, backwards, and on real threads.
public enum Runner: String, CaseIterable, Sendable {
  case forward
  case backward
  case threads

  public typealias Task = @convention(c) (UnsafeMutableRawPointer?, UInt32, UInt32) -> Void
  public typealias Function =
    @convention(c) (UnsafeMutableRawPointer?, Task?, UnsafeMutableRawPointer?, UInt32) -> Void

  public var function: Function {
    switch self {
    case .forward:
      return { _, task, argument, parts in
        for part in 0..<parts { task!(argument, part, parts) }
      }
    case .backward:
      return { _, task, argument, parts in
        for part in (0..<parts).reversed() { task!(argument, part, parts) }
      }
    case .threads:
      return { _, task, argument, parts in
        nonisolated(unsafe) let argument = argument
        DispatchQueue.concurrentPerform(iterations: Int(parts)) { part in
          task!(argument, UInt32(part), parts)
        }
      }
    }
  }
}
