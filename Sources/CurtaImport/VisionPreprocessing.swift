// How pictures become a model's pixels: preprocessor_config.json, or the same fields elsewhere.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor

/// The images that a model takes, and how they come about.
struct VisionPixels: Equatable, Sendable {
  var height: Int
  var width: Int
  var resize: ImageResize
  var filter: ImageFilter
  var mean: [Double]
  var deviation: [Double]
}

/// What a checkpoint says about the preparation of images.
struct VisionPreprocessing: Equatable, Sendable {
  /// Two edges of an image.
  struct Size: Equatable, Sendable {
    var height: Int
    var width: Int
  }

  /// The size that comes out; nil: that of the model.
  var size: Size?
  var resize = ImageResize.stretch
  var filter: ImageFilter
  var mean: [Double]
  var deviation: [Double]
  var notes: [String] = []

  /// The images of a model that takes `model` by itself; `chosen` is the edge somebody asks for.
  func pixels(model: Size?, chosen: Int?) -> VisionPixels? {
    guard let own = size ?? model else {
      return chosen.map { pixels(Size(height: $0, width: $0), self.resize) }
    }
    guard let chosen else { return pixels(own, self.resize) }
    var resize = self.resize
    if case .crop(let edge) = resize {
      // As much of the picture as before.
      let shorter = min(own.height, own.width)
      resize = .crop(edge: max(chosen, (edge * chosen + shorter / 2) / shorter))
    }
    return pixels(Size(height: chosen, width: chosen), resize)
  }

  private func pixels(_ size: Size, _ resize: ImageResize) -> VisionPixels {
    VisionPixels(
      height: size.height, width: size.width, resize: resize, filter: filter, mean: mean,
      deviation: deviation)
  }
}

extension VisionPreprocessing {
  /// The fields of `preprocessor_config.json`, in their new and old forms. What is unsupported goes
  /// to the reader's problems; `image_mean` and `image_std` must be there unless `do_normalize` is
  /// false.
  init(
    _ reader: ConfigurationReader, channels: Int, absentFilter: ImageFilter
  ) throws(ImportError) {
    filter = try Self.filter(reader) ?? absentFilter
    (mean, deviation) = try Self.normalization(reader, channels)
    for field in ["do_pad", "do_flip_channel_order", "do_thumbnail", "do_align_long_axis"]
    where try reader.flag(field, default: false) {
      reader.report("\(reader.fileName): \(field) = true (supported: false)")
    }
    let type =
      (reader.value("image_processor_type") ?? reader.value("feature_extractor_type"))?.text ?? ""
    // One number is a square, but for processors that were made for the shorter edge.
    let isShorterEdge = type.hasPrefix("CLIP") || type.hasPrefix("Bit")
    var shown: Edges?
    if try reader.flag("do_resize", default: true) {
      shown = try Self.edges(reader, "size", numberIsShorterEdge: isShorterEdge)
    }
    var cut: Size?
    if try reader.flag("do_center_crop", default: false) {
      switch try Self.edges(reader, "crop_size", numberIsShorterEdge: false) {
      case .both(let size): cut = size
      case .shorter(let edge): cut = Size(height: edge, width: edge)
      case nil:
        reader.report("\(reader.fileName): do_center_crop without a crop_size")
      }
    }
    let resizes = try reader.flag("do_resize", default: true)
    combine(resizes, shown, cut, reader)
  }

  /// What a `size` says.
  private enum Edges: Equatable {
    case both(Size)
    case shorter(Int)
  }

  private mutating func combine(
    _ resizes: Bool, _ shown: Edges?, _ cut: Size?, _ reader: ConfigurationReader
  ) {
    let file = reader.fileName
    guard resizes else {
      resize = .none
      if cut != nil {
        reader.report("\(file): do_center_crop without do_resize (supported: both)")
      }
      return
    }
    switch (shown, cut) {
    case (nil, nil): break
    case (nil, .some(let cut)): size = cut
    case (.both(let whole), nil): size = whole
    case (.both(let whole), .some(let cut)) where whole == cut: size = whole
    case (.both(let whole), .some(let cut)) where whole.height == whole.width:
      // A square first and then its centre. Models with this were trained on the shorter edge.
      size = cut
      resize = .crop(edge: whole.height)
      notes.append(
        "\(file) stretches pictures to \(whole.height) × \(whole.width) before it cuts out the "
          + "centre; here their shorter edge becomes \(whole.height), which keeps proportions")
    case (.both, .some):
      reader.report(
        "\(file): size stretches to a rectangle before the centre is cut out "
          + "(supported: shortest_edge, or a square)")
    case (.shorter(let edge), .some(let cut)):
      size = cut
      resize = .crop(edge: edge)
    case (.shorter, nil):
      reader.report(
        "\(file): size.shortest_edge without do_center_crop (supported: images of one size)")
    }
    if let size, case .crop(let edge) = resize, edge < max(size.height, size.width) {
      reader.report(
        "\(file): crop_size \(size.height) × \(size.width) is larger than the resized edge \(edge) "
          + "(supported: no padding)")
    }
  }

  private static func edges(
    _ reader: ConfigurationReader, _ field: String, numberIsShorterEdge: Bool
  ) throws(ImportError) -> Edges? {
    guard let value = reader.value(field) else { return nil }
    let limit = VisionLimit.imageEdge
    if value.object == nil {
      guard let size = try reader.imageSize(field) else { return nil }
      return numberIsShorterEdge && value.array == nil ? .shorter(size.height) : .both(size)
    }
    guard let object = try reader.object(field) else { return nil }
    if object.value("shortest_edge") != nil {
      if object.value("longest_edge") != nil {
        reader.report("\(reader.fileName): \(field).longest_edge (supported: shortest_edge alone)")
      }
      return .shorter(try object.size("shortest_edge", limit: limit))
    }
    return .both(
      Size(
        height: try object.size("height", limit: limit),
        width: try object.size("width", limit: limit)))
  }

  private static func filter(_ reader: ConfigurationReader) throws(ImportError) -> ImageFilter? {
    guard let value = reader.value("resample") else { return nil }
    let numbers: [Int: ImageFilter] = [2: .bilinear, 3: .bicubic, 4: .box]
    let filter =
      value.integer.flatMap { numbers[$0] }
      ?? value.text.flatMap { ImageFilter(rawValue: $0) }
    if filter == nil {
      reader.report(
        "\(reader.fileName): resample = \(printableName(value.summary, limit: 64)) "
          + "(supported: 2 or \"bilinear\", 3 or \"bicubic\", 4 or \"box\")")
    }
    return filter
  }

  /// Mean and deviation of pixels of 0…1, whatever the file rescales to.
  private static func normalization(
    _ reader: ConfigurationReader, _ channels: Int
  ) throws(ImportError) -> ([Double], [Double]) {
    var factor = 1.0
    if try reader.flag("do_rescale", default: true) {
      factor = try reader.positive("rescale_factor", default: 1.0 / 255)
    }
    // x · factor, less the mean, is (x / 255 − mean / unit) · unit.
    let unit = abs(factor * 255 - 1) < 1e-6 ? 1 : factor * 255
    if let offset = reader.value("do_rescale_offset") ?? reader.value("offset"),
      offset.bool != false
    {
      reader.report("\(reader.fileName): an offset of rescaled pixels (supported: none)")
    }
    guard try reader.flag("do_normalize", default: true) else {
      return (
        [Double](repeating: 0, count: channels), [Double](repeating: 1 / unit, count: channels)
      )
    }
    let mean = try reader.channels("image_mean", channels, -1e6...1e6)
    let deviation = try reader.channels("image_std", channels, 1e-6...1e6)
    return (mean.map { $0 / unit }, deviation.map { $0 / unit })
  }
}

extension ConfigurationReader {
  /// Name of the file without its folder.
  var fileName: String { path.split(separator: "/").last.map(String.init) ?? path }

  /// A size in pixels: one number, or a list of height and width.
  func imageSize(_ field: String) throws(ImportError) -> VisionPreprocessing.Size? {
    guard let value = value(field) else { return nil }
    let edges = value.array ?? [value, value]
    var numbers: [Int] = []
    for edge in edges {
      guard let number = edge.integer, number > 0, number <= VisionLimit.imageEdge else { continue }
      numbers.append(number)
    }
    guard edges.count == 2, numbers.count == 2 else {
      throw .bad(
        .outOfRange, file: path, field: named(field),
        "is \(printableName(value.summary, limit: 64)), not one or two numbers from 1 to "
          + "\(VisionLimit.imageEdge)")
    }
    return VisionPreprocessing.Size(height: numbers[0], width: numbers[1])
  }

  /// A number for each channel; one number stands for all.
  fileprivate func channels(
    _ field: String, _ count: Int, _ range: ClosedRange<Double>
  ) throws(ImportError) -> [Double] {
    guard let value = value(field) else {
      throw .bad(
        .missingField, file: path, field: named(field), "is missing",
        advice: "give what the training took, a number for each of \(count) channels")
    }
    let list = value.array ?? [StrictJSON](repeating: value, count: count)
    let numbers = list.compactMap(\.double).filter(range.contains)
    guard list.count == count, numbers.count == count else {
      throw .bad(
        .outOfRange, file: path, field: named(field),
        "is not a list of \(count) numbers from \(range.lowerBound) to \(range.upperBound), "
          + "one for each channel")
    }
    return numbers
  }
}
