// What `curta eval --images` prints: a table, Markdown or JSON.
// SPDX-License-Identifier: Apache-2.0

import CurtaEvaluate

/// The result of a measurement on images, ready to print.
struct VisionReport {
  let file: String
  let result: VisionEvaluationResult
  let showsConfusion: Bool

  var json: VisionReportJSON { VisionReportJSON(file, result, showsConfusion) }

  func show(markdown: Bool) {
    Terminal.write(markdown ? measures.markdown : measures.text)
    if showsConfusion, !result.confusion.isEmpty {
      Terminal.write("\n" + (markdown ? confusion.markdown : confusion.text))
    }
    let note = "\(grouped(result.images)) images, \(decimal(seconds(result.duration), 1)) s"
    if markdown {
      Terminal.write("\n`\(printable(file))`: \(note)\n")
    } else {
      Terminal.note(note)
    }
  }

  private var measures: Table {
    var table = Table(["measure", ">value"])
    table.add(["images", grouped(result.images)])
    if result.labelled > 0 {
      table.add(["accuracy", decimal(result.accuracy, 4)])
      if result.hasReference {
        table.add(["reference_accuracy", decimal(result.referenceAccuracy, 4)])
      }
      if result.labels.count > 5 { table.add(["top5_accuracy", decimal(result.topFive, 4)]) }
    }
    if let value = result.probeAccuracy { table.add(["probe_accuracy", decimal(value, 4)]) }
    if let value = result.referenceProbeAccuracy {
      table.add(["reference_probe_accuracy", decimal(value, 4)])
    }
    guard result.hasReference else { return table }
    if result.givesLabels {
      table.add(["kl_mean", decimal(result.klMean, 6)])
      table.add(["top1_agreement", decimal(result.agreement, 4)])
    } else {
      table.add(["cosine_mean", decimal(result.cosineMean, 6)])
      table.add(["cosine_worst", decimal(result.worstCosine, 6)])
    }
    return table
  }

  /// Rows are what the images are, columns what the model says; labels without images are left out.
  private var confusion: Table {
    let labels = result.labels
    let rows = labels.indices.filter { result.confusion[$0].contains { $0 > 0 } }
    let columns = labels.indices.filter { column in
      result.confusion.contains { $0[column] > 0 }
    }
    var table = Table(["is \\ said"] + columns.map { ">" + labels[$0] })
    for row in rows { table.add([labels[row]] + columns.map { "\(result.confusion[row][$0])" }) }
    return table
  }
}

struct VisionReportJSON: Encodable {
  let schema = "curta.eval-images/1"
  let file: String
  let images: Int
  let seconds: Double
  let labelled, correct, referenceCorrect: Int?
  let accuracy, top5Accuracy, referenceAccuracy, klMean, top1Agreement: Double?
  let cosineMean, cosineWorst: Double?
  let probeAccuracy, referenceProbeAccuracy: Double?
  let labels: [String]?
  let confusion: [[Int]]?

  init(_ file: String, _ result: VisionEvaluationResult, _ showsConfusion: Bool) {
    self.file = file
    images = result.images
    seconds = curta.seconds(result.duration)
    let (isLabelled, isCompared) = (result.labelled > 0, result.hasReference)
    labelled = isLabelled ? result.labelled : nil
    correct = isLabelled ? result.correct : nil
    accuracy = isLabelled ? result.accuracy : nil
    top5Accuracy = isLabelled ? result.topFive : nil
    referenceCorrect = isLabelled && isCompared ? result.referenceCorrect : nil
    referenceAccuracy = isLabelled && isCompared ? result.referenceAccuracy : nil
    klMean = isCompared && result.givesLabels ? result.klMean : nil
    top1Agreement = isCompared && result.givesLabels ? result.agreement : nil
    cosineMean = isCompared && !result.givesLabels ? result.cosineMean : nil
    cosineWorst = isCompared && !result.givesLabels ? result.worstCosine : nil
    probeAccuracy = result.probeAccuracy
    referenceProbeAccuracy = result.referenceProbeAccuracy
    labels = showsConfusion ? result.labels : nil
    confusion = showsConfusion && !result.confusion.isEmpty ? result.confusion : nil
  }
}
