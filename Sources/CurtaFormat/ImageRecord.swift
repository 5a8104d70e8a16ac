// The image record: what an image program takes, and how images get to that size.
// SPDX-License-Identifier: Apache-2.0

/// What a step of a program takes (`registry.tsv`, table `input`).
public enum InputKind: UInt32, Sendable {
  case tokens = 0
  case images = 1
}

/// How an image of another size becomes the program's (`registry.tsv`, table `resize`).
public enum Resize: UInt32, Sendable {
  /// Not at all: images come in the program's size.
  case none = 0
  /// Each side by itself.
  case stretch = 1
  /// Both sides alike until the shorter one is `edge`; then the centre is cut out.
  case crop = 2
}

/// How pixels weigh in a resampled one (`registry.tsv`, table `filter`).
public enum Filter: UInt32, Sendable {
  case none = 0
  case box = 1
  case bilinear = 2
  case bicubic = 3
}

/// What `pool` makes of the rows of an image (`registry.tsv`, table `pool`).
public enum PoolKind: UInt32, Sendable {
  /// One of them.
  case row = 1
  /// Their mean.
  case mean = 2
}

/// The images of a program, checked when read.
public struct ImageRecord: Sendable {
  public let height: UInt32
  public let width: UInt32
  /// 1 grey; 3 red, green, blue.
  public let channels: UInt32
  public let patchHeight: UInt32
  public let patchWidth: UInt32
  public let resize: Resize
  /// With `crop` the shorter edge before the centre is cut out, else 0.
  public let edge: UInt32
  public let filter: Filter

  static let offset = 32

  init(_ bytes: ByteView) throws(CurtaError) {
    let at = ImageRecord.offset
    height = try bytes.u32(at)
    width = try bytes.u32(at + 4)
    channels = try bytes.u32(at + 8)
    patchHeight = try bytes.u32(at + 12)
    patchWidth = try bytes.u32(at + 16)
    edge = try bytes.u32(at + 24)
    guard let resize = Resize(rawValue: try bytes.u32(at + 20)),
      let filter = Filter(rawValue: try bytes.u32(at + 28))
    else { throw CurtaError(.badProgram, at: UInt64(at + 20)) }
    self.resize = resize
    self.filter = filter
    guard height >= 1, height <= Limits.imageSide, width >= 1, width <= Limits.imageSide,
      channels == 1 || channels == 3, patchHeight > 0, height % patchHeight == 0, patchWidth > 0,
      width % patchWidth == 0
    else { throw CurtaError(.badProgram, at: UInt64(at)) }
    let edgeFits =
      resize == .crop ? edge >= max(height, width) && edge <= Limits.imageEdge : edge == 0
    guard edgeFits, (resize == .none) == (filter == .none) else {
      throw CurtaError(.badProgram, at: UInt64(at + 20))
    }
  }

  /// Patches of one image.
  public var patches: UInt32 { (height / patchHeight) * (width / patchWidth) }
  /// Numbers in a patch: below 2^26.
  public var patchSize: UInt32 { patchHeight * patchWidth * channels }
  /// Bytes of an image's pixels.
  public var bytes: UInt64 { UInt64(height) * UInt64(width) * UInt64(channels) }
}
