// Windows with a stride: every prediction once, and never with too little before it.
// SPDX-License-Identifier: Apache-2.0

import CurtaEvaluate
import Testing

@Suite struct WindowTests {
  @Test(arguments: [1, 2, 5, 8, 9, 12, 13, 50], [1, 3, 4, 8])
  func everyPredictionIsScoredOnce(length: Int, stride: Int) {
    let document = (0..<Int32(length)).map { $0 * 7 }
    let windows = TokenWindows(context: 8, stride: stride).windows(of: document)
    var targets: [Int32] = []
    for (index, window) in windows.enumerated() {
      #expect(window.inputs.count <= 8)
      #expect(window.inputs.count == window.targets.count)
      #expect(window.scored >= 1 && window.scored <= window.inputs.count)
      #expect(zip(window.inputs.dropFirst(), window.targets).allSatisfy { $0 == $1 })
      if index > 0 { #expect(window.inputs.count - window.scored >= 8 - stride) }
      targets += window.targets.suffix(window.scored)
    }
    #expect(targets == Array(document.dropFirst()))
  }

  @Test func aLimitCutsTheLastWindow() {
    let shape = TokenWindows(context: 8, stride: 4)
    let documents = [Array(Int32(0)..<20), Array(Int32(100)..<120)]
    for limit in [1, 7, 8, 9, 19, 20, 30, 38, 100] {
      let windows = shape.windows(of: documents, limit: limit)
      #expect(windows.reduce(0) { $0 + $1.scored } == min(limit, 38))
      #expect(windows.allSatisfy { $0.scored > 0 })
    }
  }

  @Test func documentsAreSelected() throws {
    let documents = TextDocuments((0..<10).map { "\($0)" })
    #expect(try DocumentSelection.last(3).apply(documents) == ["7", "8", "9"])
    #expect(try DocumentSelection.range(2...3).apply(documents) == ["2", "3"])
    #expect(try DocumentSelection.last(99).apply(documents).count == 10)
    #expect(throws: HostError.self) { try DocumentSelection.range(5...10).apply(documents) }
    #expect(throws: HostError.self) { try DocumentSelection.all.apply(TextDocuments([])) }
  }
}
