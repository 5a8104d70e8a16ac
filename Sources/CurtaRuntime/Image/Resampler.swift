// Brings an image to the program's size: rows first, then columns, as much at a time as scratch holds.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat

/// Scratch of resampling, which lies where a step has its buffers.
struct ResampleLayout {
  /// The longest side of an image that is taken.
  let largestSide: UInt32
  let down: UInt64  // i32 [largestSide], coefficients of one row
  let across: UInt64  // i32 [largestSide], coefficients of some columns
  let windows: UInt64  // i32 [width][2], the first pixel and the number of pixels of each column
  let sums: UInt64  // i32 [width][channels]
  let rows: UInt64  // u8 [rowBytes], rows whose columns are done
  let rowBytes: UInt64
  /// 0 where images come in the program's size.
  let size: UInt64

  init(_ image: ImageRecord) throws(CurtaError) {
    guard image.resize != .none else {
      largestSide = max(image.height, image.width)
      (down, across, windows, sums, rows, rowBytes, size) = (0, 0, 0, 0, 0, 0, 0)
      return
    }
    largestSide = min(65535, max(1024, 64 * max(image.height, image.width)))
    var layout = ArenaLayout()
    let side = UInt64(largestSide)
    let line = UInt64(image.width) * UInt64(image.channels)
    down = try layout.take(side, 4)
    across = try layout.take(side, 4)
    windows = try layout.take(UInt64(image.width), 8)
    sums = try layout.take(line, 4)
    // At least one column of any image, and a whole row of few pixels for each.
    rowBytes = max(side * UInt64(image.channels), 8 * line)
    rows = try layout.take(rowBytes, 1)
    size = layout.end.value
  }
}

/// Pixels as the caller has them.
struct PixelSource {
  let pixels: UnsafePointer<UInt8>
  let width: Int
  let height: Int
  /// Bytes from one pixel to the next.
  let pixelStride: Int
  let rowStride: Int
  /// Channels that are read: 1 of grey images, else 3.
  let channels: Int
}

/// Resamples one image; `Formats/curta-arithmetic.md` section 5.
struct Resampler {
  private let image: ImageRecord
  private let source: PixelSource
  private let rows: ResampledLine
  private let columns: ResampledLine
  /// The part that is cut out.
  private let top: Int
  private let left: Int

  private let down: UnsafeMutablePointer<Int32>
  private let across: UnsafeMutablePointer<Int32>
  private let acrossCount: Int
  private let windows: UnsafeMutablePointer<Int32>
  private let sums: UnsafeMutablePointer<Int32>
  private let done: UnsafeMutablePointer<UInt8>
  private let doneBytes: Int

  init(
    _ image: ImageRecord, _ source: PixelSource, _ layout: ResampleLayout,
    scratch: UnsafeMutableRawPointer
  ) {
    self.image = image
    self.source = source
    var height = Int64(image.height)
    var width = Int64(image.width)
    if image.resize == .crop {
      let shorter = Int64(min(source.height, source.width))
      let edge = Int64(image.edge)
      height = (2 * Int64(source.height) * edge + shorter) / (2 * shorter)
      width = (2 * Int64(source.width) * edge + shorter) / (2 * shorter)
    }
    top = Int((height - Int64(image.height)) / 2)
    left = Int((width - Int64(image.width)) / 2)
    rows = ResampledLine(from: source.height, to: Int(height), image.filter)
    columns = ResampledLine(from: source.width, to: Int(width), image.filter)
    func at<T>(_ offset: UInt64, _ type: T.Type) -> UnsafeMutablePointer<T> {
      (scratch + Int(offset)).assumingMemoryBound(to: T.self)
    }
    down = at(layout.down, Int32.self)
    across = at(layout.across, Int32.self)
    acrossCount = Int(layout.largestSide)
    windows = at(layout.windows, Int32.self)
    sums = at(layout.sums, Int32.self)
    done = at(layout.rows, UInt8.self)
    doneBytes = Int(layout.rowBytes)
  }

  /// Writes [height][width][channels].
  func run(to pixels: UnsafeMutablePointer<UInt8>) {
    let width = Int(image.width)
    let held = rows.widest  // rows that one row of the result needs
    let fits = min(acrossCount / columns.widest, doneBytes / (held * source.channels))
    var first = 0
    while first < width {
      let count = min(max(fits, 1), width - first)
      strip(first, count, held, to: pixels)
      first += count
    }
  }

  /// `count` columns from `first` on.
  private func strip(
    _ first: Int, _ count: Int, _ held: Int, to pixels: UnsafeMutablePointer<UInt8>
  ) {
    let widest = columns.widest
    for i in 0..<count {
      let window = columns.coefficients(left + first + i, to: across + i * widest)
      windows[2 * i] = Int32(truncatingIfNeeded: window.lowerBound)
      windows[2 * i + 1] = Int32(truncatingIfNeeded: window.count)
    }
    let line = count * source.channels
    var next = 0  // the first row of the source that is not yet done
    for y in 0..<Int(image.height) {
      let window = rows.coefficients(top + y, to: down)
      next = max(next, window.lowerBound)
      while next < window.upperBound {
        shorten(next, count, to: done + next % held * line)
        next += 1
      }
      for i in 0..<line { sums[i] = 1 << 21 }
      for j in window {
        let c = down[j - window.lowerBound]
        let row = done + j % held * line
        for i in 0..<line { sums[i] = sums[i] &+ c &* Int32(row[i]) }
      }
      store(count, to: pixels + (y * Int(image.width) + first) * Int(image.channels))
    }
  }

  /// Row `y` of the source, its columns resampled. Sums stay below 2^31: the coefficients of a
  /// window, all taken positive, come to less than 1.3.
  private func shorten(_ y: Int, _ count: Int, to out: UnsafeMutablePointer<UInt8>) {
    let row = source.pixels + y * source.rowStride
    let step = source.pixelStride
    let widest = columns.widest
    var out = out
    for i in 0..<count {
      var p = row + Int(windows[2 * i]) * step
      let c = across + i * widest
      let n = Int(windows[2 * i + 1])
      var red: Int32 = 1 << 21
      if source.channels == 1 {
        for k in 0..<n {
          red = red &+ c[k] &* Int32(p.pointee)
          p += step
        }
        out[0] = pixel(red)
        out += 1
        continue
      }
      var green = red
      var blue = red
      for k in 0..<n {
        red = red &+ c[k] &* Int32(p[0])
        green = green &+ c[k] &* Int32(p[1])
        blue = blue &+ c[k] &* Int32(p[2])
        p += step
      }
      out[0] = pixel(red)
      out[1] = pixel(green)
      out[2] = pixel(blue)
      out += 3
    }
  }

  @inline(__always)
  private func pixel(_ sum: Int32) -> UInt8 {
    UInt8(truncatingIfNeeded: min(max(sum &>> 22, 0), 255))
  }

  /// The sums as pixels of the program, which may have three channels where the source is grey.
  private func store(_ count: Int, to out: UnsafeMutablePointer<UInt8>) {
    let copies = Int(image.channels) / source.channels
    for i in 0..<count * source.channels {
      for k in 0..<copies { out[i * copies + k] = pixel(sums[i]) }
    }
  }
}
