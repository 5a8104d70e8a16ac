// Sessions of image programs: pixels in, one row of numbers an image out.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat

extension Session {
  /// What images look like; nil where the input is tokens.
  public var image: ImageRecord? { state.pointee.program.image }
  /// Most images in a step; for tokens most rows of logits.
  public var outputs: Int { Int(state.pointee.sizes.outputs) }

  /// The longest side of an image that `setImage` takes; 0 where the input is tokens.
  public var largestSide: Int {
    guard let image, let layout = try? ResampleLayout(image) else { return 0 }
    return Int(layout.largestSide)
  }

  /// Brings an image to the program's size and makes it image `index` of the next steps.
  ///
  /// `channels` bytes make a pixel: 1 grey; 3 red, green, blue; 4 with a fourth that is not read.
  /// Grey stands for all three colours of a program of colours. `rowStride` bytes lie from one row to
  /// the next, 0 for width * channels. The rows of the last step are gone. Throws `unsupported` (a
  /// program of tokens) or `badArgument`; nothing has then changed.
  public func setImage(
    _ index: Int, _ pixels: UnsafePointer<UInt8>, width: Int, height: Int, channels: Int,
    rowStride: Int
  ) throws(CurtaError) {
    guard let image else { throw CurtaError(.unsupported) }
    let layout = try ResampleLayout(image)
    let sides = 1...Int(layout.largestSide)
    guard index >= 0, index < outputs, sides.contains(width), sides.contains(height),
      channels == 1 || channels == 3 || channels == 4, channels == 1 || image.channels == 3,
      rowStride == 0 || rowStride >= width * channels,
      image.resize != .none || width == Int(image.width) && height == Int(image.height)
    else { throw CurtaError(.badArgument) }
    let source = PixelSource(
      pixels: pixels, width: width, height: height, pixelStride: channels,
      rowStride: rowStride == 0 ? width * channels : rowStride, channels: min(channels, 3))
    state.pointee.outputsMade = 0
    let target =
      state.pointee.shared(state.pointee.scratch.pixels, UInt8.self) + index * Int(image.bytes)
    if image.resize == .none {
      Session.copy(source, channels: Int(image.channels), to: target)
    } else {
      let scratch = state.pointee.base + Int(state.pointee.scratch.idle)
      Resampler(image, source, layout, scratch: scratch).run(to: target)
    }
  }

  /// Image `index` as the program sees it, [height][width][channels]; nil when there is none.
  public func pixels(_ index: Int) -> UnsafeBufferPointer<UInt8>? {
    guard let image, index >= 0, index < outputs else { return nil }
    let base = state.pointee.shared(state.pointee.scratch.pixels, UInt8.self)
    return UnsafeBufferPointer(start: base + index * Int(image.bytes), count: Int(image.bytes))
  }

  private static func copy(
    _ source: PixelSource, channels: Int, to out: UnsafeMutablePointer<UInt8>
  ) {
    var out = out
    for y in 0..<source.height {
      var p = source.pixels + y * source.rowStride
      for _ in 0..<source.width {
        for c in 0..<channels { out[c] = p[source.channels == 1 ? 0 : c] }
        out += channels
        p += source.pixelStride
      }
    }
  }

  /// Computes the rows of the first 1 … outputs images.
  ///
  /// Throws `badArgument` or `unsupported` (a program of tokens); nothing has then changed.
  public func stepImages(_ count: Int) throws(CurtaError) {
    guard let image else { throw CurtaError(.unsupported) }
    guard count >= 1, count <= outputs else { throw CurtaError(.badArgument) }
    state.pointee.count = count * context
    state.pointee.outputs = count
    state.pointee.patches = count * Int(image.patches)
    try runAll()
  }
}
