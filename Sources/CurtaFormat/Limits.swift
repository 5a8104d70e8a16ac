// Every limit of the format, as the specification states it.
// SPDX-License-Identifier: Apache-2.0

public enum Limits {
  // curta-file.md section 7
  public static let sections: UInt32 = 65_536
  public static let sectionBytes: UInt64 = 1 << 34
  public static let ratio: UInt64 = 1024
  public static let window: UInt64 = 1 << 20
  public static let metadataEntries: UInt32 = 1024
  public static let text: UInt32 = 65_536
  // curta-encodings.md section 7
  public static let tensors: UInt32 = 16_384
  public static let rows: UInt32 = 1 << 24
  public static let columns: UInt32 = 1 << 17
  public static let name: UInt32 = 255
  // curta-program.md section 5
  public static let buffers: UInt32 = 1024
  public static let states: UInt32 = 2048
  public static let ops: UInt32 = 65_536
  public static let slots: UInt32 = 64
  public static let context: UInt32 = 1 << 20
  public static let width: UInt32 = 1 << 24
  public static let codesWidth: UInt32 = 1 << 17
  public static let heads: UInt32 = 1024
  public static let headWidth: UInt32 = 256
  // curta-program.md section 1, the image record
  public static let imageSide: UInt32 = 4096
  public static let imageEdge: UInt32 = 8192
  public static let prefixRows: UInt32 = 64
}

/// Alignment of sections, buffers and the arena: a constant of the version.
public let alignment: UInt64 = 64
