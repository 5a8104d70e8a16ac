// A file that takes images: a session, and what its rows of output mean.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat
import CurtaRuntime

/// A running image model.
public final class ImageModel {
  public let session: HostSession
  public let image: ImageRecord
  /// Names of the labels; empty where the file has none.
  public let labels: [String]
  /// Whether a row is the logits of labels, not features.
  public let givesLabels: Bool
  /// Most images in a step.
  public let batch: Int
  /// Numbers in a row.
  public var width: Int { session.vocabulary }

  /// Throws `HostError`, also for a model of text.
  public init(
    _ path: String, threads: UInt32 = 1, batch: Int = 1, weightLimit: UInt64 = 0
  ) throws(HostError) {
    let file = try FileMapping(path, forRunning: weightLimit == 0)
    var options = HostOptions()
    options.weightLimit = weightLimit
    options.threads = threads
    options.outputs = UInt32(clamping: batch)
    let texts = try ImageModel.texts(file)
    session = try HostSession(file, options)
    guard let image = session.session.image else {
      throw .request("\(path) takes text, not images; use curta run")
    }
    self.image = image
    self.batch = batch
    let names = texts["labels"].map {
      $0.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
    }
    let count = session.vocabulary
    labels = names.flatMap { $0.count == count ? $0 : nil } ?? []
    givesLabels = texts["output"] != "features"
  }

  /// The texts of the metadata.
  private static func texts(_ file: FileMapping) throws(HostError) -> [String: String] {
    var texts: [String: String] = [:]
    func string(_ view: ByteView) -> String {
      String(decoding: UnsafeRawBufferPointer(start: view.base, count: view.count), as: UTF8.self)
    }
    func add(_ entry: MetadataEntry) {
      if let text = entry.text { texts[string(entry.key)] = string(text) }
    }
    do throws(CurtaError) {
      try CurtaFile(file.bytes).metadata().forEach(add)
    } catch {
      throw .file(path: file.path, error)
    }
    return texts
  }

  /// Name of a label, or its number.
  public func label(_ index: Int) -> String {
    labels.indices.contains(index) ? labels[index] : "\(index)"
  }

  /// Rows of at most `batch` images. `names` are what errors call the images.
  ///
  /// Throws `HostError.image` for an image of a size that the model does not take.
  public func run(
    _ images: ArraySlice<PixelImage>, names: ArraySlice<String> = []
  ) throws(HostError) -> [[Float]] {
    for (index, picture) in images.enumerated() {
      let name = index < names.count ? names[names.startIndex + index] : "image \(index)"
      let fits =
        image.resize == .none
        ? picture.width == Int(image.width) && picture.height == Int(image.height)
        : max(picture.width, picture.height) <= session.session.largestSide
      guard fits else {
        throw .image(
          path: name,
          reason: "\(picture.width) x \(picture.height) pixels; this model takes "
            + (image.resize == .none
              ? "\(image.width) x \(image.height)"
              : "sides to \(session.session.largestSide)"))
      }
      let source = image.channels == 1 ? picture.grey : picture
      try session.setImage(
        index, source.pixels, width: source.width, height: source.height,
        channels: source.channels)
    }
    guard !images.isEmpty else { return [] }
    try session.stepImages(images.count)
    return (0..<images.count).map { session.logits($0).map { Float($0) * 0x1p-16 } }
  }

  /// Image `index` of the last step as the model saw it, [height][width][channels].
  func pixels(_ index: Int) -> [UInt8] { session.session.pixels(index).map(Array.init) ?? [] }
}

/// The cosine of the angle between two rows; 0 where one is zero.
public func cosineSimilarity(_ a: [Float], _ b: [Float]) -> Double {
  var (product, left, right) = (0.0, 0.0, 0.0)
  for (x, y) in zip(a, b) {
    product += Double(x) * Double(y)
    left += Double(x) * Double(x)
    right += Double(y) * Double(y)
  }
  return left > 0 && right > 0 ? product / (left * right).squareRoot() : 0
}
