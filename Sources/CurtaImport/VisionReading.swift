// Reads the parameters of a vision transformer by its plan.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor

/// Reads tensors out of a catalog and remembers which.
struct VisionReader {
  let plan: VisionPlan
  let catalog: TensorCatalog

  private var d: VisionDescription { plan.description }
  private var body: DecoderDescription { plan.description.body }
  private var names: VisionNames { plan.names }

  /// All weights; throws for what is missing, of another shape, or belongs to nobody. `problems` is
  /// what else is unsupported.
  func weights(problems: [String]) throws(ImportError) -> VisionWeights {
    let problems = problems + unknownTensors() + undecodable()
    guard problems.isEmpty else { throw .unsupported(problems) }
    let ends = try ends()
    var layers: [DecoderLayer] = []
    for index in 0..<body.layers { layers.append(try layer(index)) }
    let weights = VisionWeights(description: d, ends: ends, layers: layers)
    guard weights.isConsistent else {
      throw .bad(
        .contradiction, file: catalog.place, "the tensors do not fit together",
        advice: "check that \(catalog.authority) belongs to these weights")
    }
    return weights
  }

  // MARK: - Modules

  private func missing(_ name: String, _ shape: [Int]) -> ImportError {
    .bad(
      .missingTensor, file: catalog.place, field: name,
      "is not there, but a tensor of shape \(shape) is needed",
      advice: "check that \(catalog.authority) belongs to these weights")
  }

  /// A tensor that must have one of the shapes.
  private func tensor(_ name: String, _ shapes: [Int]...) throws(ImportError) -> StoredTensor {
    guard let tensor = catalog[name] else { throw missing(name, shapes[0]) }
    guard shapes.contains(tensor.shape) else {
      throw .bad(
        .wrongShape, file: tensor.file.path, field: name, offset: tensor.recordOffset,
        "has shape \(tensor.shape), not \(shapes[0])",
        advice: "check that \(catalog.authority) belongs to these weights")
    }
    return tensor
  }

  /// Rows of [parts · rows][columns], or elements of a vector.
  private func values(
    _ name: String, _ module: VisionModule, _ rows: Int, _ columns: Int?
  ) throws(ImportError) -> [Float] {
    let total = rows * module.parts
    let tensor = try tensor(name, columns.map { [total, $0] } ?? [total])
    let count = rows * (columns ?? 1)
    let start = (module.part ?? 0) * count
    return try tensor.floats(start..<start + count)
  }

  private func linear(
    _ module: VisionModule, _ rows: Int, _ columns: Int, bias: Bool
  ) throws(ImportError) -> LinearLayer {
    LinearLayer(
      Matrix(
        rows: rows, columns: columns, values: try values(module.weight, module, rows, columns)),
      bias: bias ? try values(module.bias, module, rows, nil) : nil)
  }

  private func norm(_ module: VisionModule) throws(ImportError) -> NormLayer {
    NormLayer(
      try values(module.weight, module, body.width, nil),
      bias: try values(module.bias, module, body.width, nil))
  }

  // MARK: - Layers

  func layer(_ index: Int) throws(ImportError) -> DecoderLayer {
    let prefix = names.prefix(index)
    let layer = names.layer
    func linear(
      _ module: VisionModule, _ rows: Int, _ columns: Int, _ bias: DecoderParts
    ) throws(ImportError) -> LinearLayer {
      try self.linear(
        module.behind(prefix), rows, columns, bias: body.parts.contains(bias))
    }
    var output = try linear(layer.output, body.width, body.queryWidth, .outputBias)
    var down = try linear(layer.down, body.width, body.feedForwardWidth, .downBias)
    if let name = layer.outputScale { try scale(&output, prefix + name) }
    if let name = layer.downScale { try scale(&down, prefix + name) }
    var gate: LinearLayer?
    if let module = layer.gate {
      gate = try linear(module, body.feedForwardWidth, body.width, .gateBias)
    }
    return DecoderLayer(
      attentionNorm: try norm(layer.attentionNorm.behind(prefix)),
      query: try linear(layer.query, body.queryWidth, body.width, .queryBias),
      key: try linear(layer.key, body.keyValueWidth, body.width, .keyBias),
      value: try linear(layer.value, body.keyValueWidth, body.width, .valueBias),
      output: output, feedForwardNorm: try norm(layer.feedForwardNorm.behind(prefix)), gate: gate,
      up: try linear(layer.up, body.feedForwardWidth, body.width, .upBias), down: down)
  }

  /// Multiplies rows and bias by a LayerScale.
  private func scale(_ linear: inout LinearLayer, _ name: String) throws(ImportError) {
    let tensor = try tensor(name, [body.width])
    let factors = try tensor.floats(0..<body.width)
    var allFinite = true
    let columns = linear.weight.columns
    for (row, factor) in factors.enumerated() {
      for i in row * columns..<(row + 1) * columns {
        linear.weight.values[i] *= factor
        allFinite = allFinite && linear.weight.values[i].isFinite
      }
      linear.bias?[row] *= factor
    }
    guard allFinite, linear.bias?.allSatisfy(\.isFinite) ?? true else {
      throw .bad(
        .notFinite, file: tensor.file.path, field: name, offset: tensor.offset,
        "makes weights too large for float32")
    }
  }

  // MARK: - Ends

  private func ends() throws(ImportError) -> VisionEnds {
    let prefix = names.prefix
    var tokens: [Float] = []
    for name in names.tokens { tokens += try token(prefix + name) }
    guard tokens.count == d.prefixRows * body.width else {
      throw .bad(
        .wrongShape, file: catalog.place, field: prefix + (names.tokens.first ?? ""),
        "\(tokens.count / body.width) tokens in front of the patches, not \(d.prefixRows)")
    }
    var firstNorm: NormLayer?
    if let module = names.firstNorm { firstNorm = try norm(module.behind(prefix)) }
    var finalNorm: NormLayer?
    if let module = names.finalNorm { finalNorm = try norm(module.behind(prefix)) }
    return VisionEnds(
      projection: try projection(),
      prefix: names.tokens.isEmpty
        ? nil : Matrix(rows: d.prefixRows, columns: body.width, values: tokens),
      positions: try positions(), firstNorm: firstNorm, finalNorm: finalNorm,
      hidden: try end(names.hidden, d.headWidth, body.width),
      head: try end(names.head, d.hasHead ? body.vocabularySize : nil, d.headWidth ?? body.width))
  }

  /// A linear layer behind the body; the bias where the file has it.
  private func end(
    _ module: VisionModule?, _ rows: Int?, _ columns: Int
  ) throws(ImportError) -> LinearLayer? {
    guard let module, let rows else { return nil }
    return try linear(module, rows, columns, bias: catalog.has(module.bias))
  }

  /// The rows of one kind of token, [rows][width].
  private func token(_ name: String) throws(ImportError) -> [Float] {
    guard let tensor = catalog[name] else { throw missing(name, [1, 1, body.width]) }
    let rows = tensor.shape.dropLast().reduce(1) { $0.multipliedReportingOverflow(by: $1).0 }
    guard tensor.shape.last == body.width, rows > 0, rows <= VisionLimit.rows,
      tensor.shape.dropLast().filter({ $0 != 1 }).count <= 1
    else {
      throw .bad(
        .wrongShape, file: tensor.file.path, field: name, offset: tensor.recordOffset,
        "has shape \(tensor.shape), not [1, rows, \(body.width)]")
    }
    return try tensor.floats(0..<rows * body.width)
  }

  /// [width][patchElements] out of a convolution's [width][channels][y][x], or of a matrix whose
  /// columns are already in our order.
  private func projection() throws(ImportError) -> LinearLayer {
    let module = names.projection.behind(names.prefix)
    let (height, width, channels) = (d.patchHeight, d.patchWidth, d.channels)
    let rows = body.width
    let tensor = try tensor(
      module.weight, [rows, channels, height, width], [rows, d.patchElements])
    let stored = try tensor.floats(0..<rows * d.patchElements)
    var values = stored
    if tensor.shape.count == 4 {
      let area = height * width
      values.withUnsafeMutableBufferPointer { values in
        for row in 0..<rows {
          let start = row * d.patchElements
          for channel in 0..<channels {
            for pixel in 0..<area {
              values[start + pixel * channels + channel] = stored[start + channel * area + pixel]
            }
          }
        }
      }
    }
    let bias = catalog.has(module.bias) ? try self.values(module.bias, module, rows, nil) : nil
    return LinearLayer(
      Matrix(rows: rows, columns: d.patchElements, values: values), bias: bias)
  }

  /// A row for each of the tokens and patches; of another grid they are interpolated.
  private func positions() throws(ImportError) -> Matrix {
    let name = names.prefix + names.positions
    let table = try token(name)
    let stored = table.count / body.width
    let grid = (rows: d.height / d.patchHeight, columns: d.width / d.patchWidth)
    guard
      let source = VisionPositions.grid(rows: stored, prefixRows: d.prefixRows, wanted: grid)
    else {
      throw .bad(
        .wrongShape, file: catalog.place, field: name,
        "\(stored) positions are those of no square grid behind \(d.prefixRows) tokens",
        advice: "give the image_size that the weights were made for")
    }
    guard source.rows * grid.columns <= VisionLimit.tableElements / body.width else {
      throw .unsupported(["\(name): positions of so large a grid cannot be interpolated"])
    }
    var values = VisionPositions.prefix(
      table, stored: source.prefix, rows: d.prefixRows, width: body.width)
    let patches = Array(table[(source.prefix * body.width)...])
    values += VisionPositions.resized(
      patches, from: (source.rows, source.columns), to: grid, width: body.width,
      plan.interpolation)
    return Matrix(rows: d.rows, columns: body.width, values: values)
  }

  // MARK: - Names

  /// Tensors of the model that cannot be read as floats.
  private func undecodable() -> [String] {
    catalog.all.filter { $0.coding == nil && !names.ignored($0.name) }.map {
      "\(printableName($0.name, limit: 64)): dtype \($0.typeName) "
        + "(supported: \(catalog.readable))"
    }
  }

  /// Tensors that nobody wants, those of all layers together: one line for each name.
  private func unknownTensors() -> [String] {
    var known = Set(names.tokens.map { names.prefix + $0 })
    known.insert(names.prefix + names.positions)
    func add(_ module: VisionModule?) {
      guard let module else { return }
      known.formUnion([module.weight, module.bias])
    }
    for module in [names.projection, names.firstNorm, names.finalNorm] {
      add(module?.behind(names.prefix))
    }
    add(names.hidden)
    add(names.head)
    let layer = names.layer
    for index in 0..<min(body.layers, catalog.count) {
      let prefix = names.prefix(index)
      for module in [
        layer.attentionNorm, layer.query, layer.key, layer.value, layer.output,
        layer.feedForwardNorm, layer.gate, layer.up, layer.down,
      ] { add(module?.behind(prefix)) }
      for name in [layer.outputScale, layer.downScale] {
        if let name { known.insert(prefix + name) }
      }
    }
    var counts: [String: Int] = [:]
    for name in catalog.names where !known.contains(name) && !names.ignored(name) {
      counts[layerPattern(name), default: 0] += 1
    }
    return counts.sorted { $0.key < $1.key }.map { pattern, count in
      "\(printableName(pattern, limit: 64))\(count > 1 ? " (\(count) tensors)" : ""): "
        + "\(plan.architecture) has no such tensor here"
    }
  }
}
