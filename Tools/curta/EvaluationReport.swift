// What `curta eval` prints: a table, Markdown or JSON.
// SPDX-License-Identifier: Apache-2.0

import CurtaEvaluate

/// The result of a measurement, ready to print.
struct EvaluationReport {
  let file: String
  let result: EvaluationResult

  var json: EvaluationJSON { EvaluationJSON(file, result) }

  /// Prints tables on the standard output, and how it was measured on the standard error or, in
  /// Markdown, below.
  func show(markdown: Bool) {
    Terminal.write(markdown ? measures.markdown : measures.text)
    if !result.layers.isEmpty {
      Terminal.write("\n" + (markdown ? layers.markdown : layers.text))
    }
    let note =
      "\(result.documents) documents, context \(result.context), stride \(result.stride),"
      + " \(decimal(seconds(result.duration), 1)) s"
    if markdown {
      Terminal.write("\n`\(printable(file))`: \(note)\n")
    } else {
      Terminal.note(note)
    }
  }

  private var measures: Table {
    var table = Table(["measure", ">value"])
    table.add(["tokens", grouped(result.tokens)])
    table.add(["perplexity", decimal(result.perplexity, 4)])
    table.add(["reference_perplexity", decimal(result.referencePerplexity, 4)])
    table.add(["kl_mean", decimal(result.klMean, 6)])
    table.add(["top1_agreement", decimal(result.top1Agreement, 4)])
    if let value = result.simulationPerplexity {
      table.add(["simulation_perplexity", decimal(value, 4)])
    }
    if let value = result.simulationKLMean {
      table.add(["simulation_kl_mean", decimal(value, 6)])
    }
    return table
  }

  private var layers: Table {
    var table = Table([">layer", ">own dB", ">gathered dB"])
    for error in result.layers {
      table.add(["\(error.layer)", decimal(error.own, 1), decimal(error.gathered, 1)])
    }
    return table
  }
}

struct EvaluationJSON: Encodable {
  struct Layer: Encodable {
    let layer: Int
    let ownDecibels, gatheredDecibels: Double
  }

  let schema = "curta.eval/1"
  let file: String
  let tokens, documents, context, stride: Int
  let perplexity, referencePerplexity, klMean, top1Agreement, seconds: Double
  let simulationPerplexity, simulationKlMean: Double?
  let layers: [Layer]?

  init(_ file: String, _ result: EvaluationResult) {
    self.file = file
    tokens = result.tokens
    documents = result.documents
    context = result.context
    stride = result.stride
    perplexity = result.perplexity
    referencePerplexity = result.referencePerplexity
    klMean = result.klMean
    top1Agreement = result.top1Agreement
    seconds = curta.seconds(result.duration)
    simulationPerplexity = result.simulationPerplexity
    simulationKlMean = result.simulationKLMean
    layers =
      result.layers.isEmpty
      ? nil
      : result.layers.map {
        Layer(layer: $0.layer, ownDecibels: $0.own, gatheredDecibels: $0.gathered)
      }
  }
}
