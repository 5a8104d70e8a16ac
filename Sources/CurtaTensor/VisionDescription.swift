// The shape and constants of a vision transformer, whatever file it came from.
// SPDX-License-Identifier: Apache-2.0

/// How pictures are brought to the size that a model takes.
public enum ImageResize: Sendable, Equatable {
  /// They come in that size.
  case none
  case stretch
  /// The shorter edge becomes `edge`, then the centre is cut out.
  case crop(edge: Int)
}

/// The filter of a resampling.
public enum ImageFilter: String, Sendable, Equatable {
  case box, bilinear, bicubic
}

/// What an image's rows become before the head.
public enum ImagePooling: Sendable, Equatable {
  /// One row, such as that of the class token.
  case row(Int)
  /// The mean of the rows from `first` on.
  case mean(first: Int)
}

/// The shape and constants of a vision transformer.
///
/// pixels → patches · projection → prefix rows before them → + positions → N? → layers → N? → pooled
/// → N? → hidden? → head, or the pooled row itself as features.
public struct VisionDescription: Sendable, Equatable {
  public var height: Int
  public var width: Int
  /// 1 (grey) or 3 (red, green, blue).
  public var channels: Int
  public var patchHeight: Int
  public var patchWidth: Int
  public var resize: ImageResize
  public var filter: ImageFilter
  /// [channels]; a pixel v of 0…255 enters as (v / 255 − mean) / deviation.
  public var mean: [Double]
  public var deviation: [Double]
  /// Class and register tokens in front of the patches.
  public var prefixRows: Int
  /// The layers, which are not causal; `contextLength` is the number of rows of an image, prefix and
  /// patches, and `vocabularySize` the number of labels or features.
  public var body: DecoderDescription
  /// Whether a norm comes between the positions and the first layer (CLIP).
  public var hasFirstNorm: Bool
  /// Whether a norm comes behind the last layer.
  public var hasFinalNorm: Bool
  public var pooling: ImagePooling
  /// Whether the final norm is of the pooled row, not of all rows before they are pooled. With
  /// `ImagePooling.row` both are the same.
  public var normsPooledRow: Bool
  /// Inner width of a head of two layers with the body's activation between; nil: one layer.
  public var headWidth: Int?
  /// Names of the labels; empty where nobody gave them. A model without head gives features.
  public var labels: [String]
  /// Whether there is a head; without one the output is the pooled row.
  public var hasHead: Bool

  public init(
    height: Int, width: Int, channels: Int, patchHeight: Int, patchWidth: Int,
    resize: ImageResize, filter: ImageFilter, mean: [Double], deviation: [Double],
    prefixRows: Int, body: DecoderDescription, hasFirstNorm: Bool = false,
    hasFinalNorm: Bool = true, pooling: ImagePooling = .row(0), normsPooledRow: Bool = true,
    headWidth: Int? = nil, labels: [String] = [], hasHead: Bool
  ) {
    self.height = height
    self.width = width
    self.channels = channels
    self.patchHeight = patchHeight
    self.patchWidth = patchWidth
    self.resize = resize
    self.filter = filter
    self.mean = mean
    self.deviation = deviation
    self.prefixRows = prefixRows
    self.body = body
    self.hasFirstNorm = hasFirstNorm
    self.hasFinalNorm = hasFinalNorm
    self.pooling = pooling
    self.normsPooledRow = normsPooledRow
    self.headWidth = headWidth
    self.labels = labels
    self.hasHead = hasHead
  }

  /// Patches of an image.
  public var patches: Int { (height / patchHeight) * (width / patchWidth) }
  /// Numbers in a patch.
  public var patchElements: Int { patchHeight * patchWidth * channels }
  /// Rows of an image, prefix and patches.
  public var rows: Int { prefixRows + patches }

  /// Whether the numbers fit together.
  public var isConsistent: Bool {
    height > 0 && width > 0 && (channels == 1 || channels == 3) && patchHeight > 0
      && patchWidth > 0 && height % patchHeight == 0 && width % patchWidth == 0
      && mean.count == channels && deviation.count == channels
      && deviation.allSatisfy { $0 > 0 } && body.isConsistent && !body.isCausal
      && body.contextLength == rows && (labels.isEmpty || labels.count == body.vocabularySize)
      && (hasHead || body.vocabularySize == body.width)
  }
}

/// The parameters of a vision transformer outside its layers.
public struct VisionEnds: Sendable, Equatable {
  /// [width][patchElements], elements of a patch row by row, each pixel with its channels; of
  /// normalized pixels.
  public var projection: LinearLayer
  /// [prefixRows][width]; nil without any.
  public var prefix: Matrix?
  /// [rows][width]: prefix and patches; zeros for rows without a position.
  public var positions: Matrix?
  public var firstNorm: NormLayer?
  public var finalNorm: NormLayer?
  /// [headWidth][width]
  public var hidden: LinearLayer?
  /// [vocabularySize][headWidth or width]
  public var head: LinearLayer?

  public init(
    projection: LinearLayer, prefix: Matrix?, positions: Matrix?, firstNorm: NormLayer? = nil,
    finalNorm: NormLayer?, hidden: LinearLayer? = nil, head: LinearLayer?
  ) {
    self.projection = projection
    self.prefix = prefix
    self.positions = positions
    self.firstNorm = firstNorm
    self.finalNorm = finalNorm
    self.hidden = hidden
    self.head = head
  }
}

/// All parameters of a vision transformer in float32. A LayerScale is part of the output and down
/// projections: their rows and biases are multiplied by it.
public struct VisionWeights: Sendable, Equatable {
  public var description: VisionDescription
  public var ends: VisionEnds
  public var layers: [DecoderLayer]

  public init(description: VisionDescription, ends: VisionEnds, layers: [DecoderLayer]) {
    self.description = description
    self.ends = ends
    self.layers = layers
  }

  /// Whether every tensor has the shape the description asks for. An importer must see to it.
  public var isConsistent: Bool {
    let d = description
    let (width, beta) = (d.body.width, d.body.parts.contains(.normBias))
    func fits(_ norm: NormLayer?, _ wanted: Bool) -> Bool {
      norm.map { wanted && $0.fits(width, bias: beta) } ?? !wanted
    }
    func fits(_ linear: LinearLayer?, _ rows: Int, _ columns: Int, _ wanted: Bool) -> Bool {
      linear.map {
        wanted && $0.weight.hasShape(rows, columns) && ($0.bias.map { $0.count == rows } ?? true)
      } ?? !wanted
    }
    return d.isConsistent
      && fits(ends.projection, width, d.patchElements, true)
      && (ends.prefix.map { $0.hasShape(d.prefixRows, width) } ?? (d.prefixRows == 0))
      && (ends.positions.map { $0.hasShape(d.rows, width) } ?? true)
      && fits(ends.firstNorm, d.hasFirstNorm) && fits(ends.finalNorm, d.hasFinalNorm)
      && fits(ends.hidden, d.headWidth ?? 0, width, d.headWidth != nil)
      && fits(ends.head, d.body.vocabularySize, d.headWidth ?? width, d.hasHead)
      && layers.count == d.body.layers && layers.allSatisfy { $0.fits(d.body) }
  }

  public var parameterCount: Int {
    layers.reduce(0) { $0 + $1.parameterCount } + ends.projection.parameterCount
      + (ends.prefix?.values.count ?? 0) + (ends.positions?.values.count ?? 0)
      + (ends.firstNorm?.parameterCount ?? 0) + (ends.finalNorm?.parameterCount ?? 0)
      + (ends.hidden?.parameterCount ?? 0) + (ends.head?.parameterCount ?? 0)
  }
}
