// Stop strings that come in pieces: nothing of one is shown, and nothing else is kept back.
// SPDX-License-Identifier: Apache-2.0

import CurtaTestSupport
import Testing

@testable import curta

@Suite struct StopMatcherTests {
  /// What is shown of `pieces`, what at the end, and the stop string.
  private func run(_ stops: [String], _ pieces: [String]) -> (String, String, String?) {
    var matcher = StopMatcher(stops)
    var shown = ""
    for piece in pieces { shown += matcher.next(piece) }
    let tail = matcher.end()
    return (shown, tail, matcher.found)
  }

  @Test(
    arguments: [
      ([], ["a", "b"], "ab", "", nil), (["x"], ["a", "bxc", "d"], "ab", "", "x"),
      (["\n\n"], ["a\n", "b\n", "\nc"], "a\nb", "", "\n\n"),
      (["<|end|>"], ["a<", "|e", "nd", "|", ">b"], "a", "", "<|end|>"),
      (["<|end|>"], ["a<", "|e", "nd", "!"], "a<|end!", "", nil),
      (["<|end|>"], ["a<|", "<|end|>"], "a<|", "", "<|end|>"),
      (["stop"], ["s", "sto"], "s", "sto", nil),
      // The one that begins first, then the shorter.
      (["bc", "abcX"], ["ab", "c", "X"], "", "", "abcX"),
      (["bc", "abcX"], ["ab", "c", "Y"], "a", "", "bc"), (["bc", "abcX"], ["abc"], "", "a", "bc"),
      (["ab", "abc"], ["xabc"], "x", "", "ab"), (["aab"], ["aa", "ab"], "a", "", "aab"),
      (["\u{E9}!"], ["caf\u{E9}", "?"], "caf\u{E9}?", "", nil),
      (["e\u{301}"], ["\u{E9}"], "\u{E9}", "", nil),
    ] as [([String], [String], String, String, String?)])
  func examples(
    stops: [String], pieces: [String], shown: String, tail: String, found: String?
  ) {
    let result = run(stops, pieces)
    #expect(result.0 == shown && result.1 == tail && result.2 == found, "\(result)")
  }

  /// However the text is cut, the same is shown: what is before the first stop string.
  @Test func cutsDoNotMatter() {
    var random = SeededRandom.announced("stops")
    for _ in 0..<3000 {
      let letters = ["a", "b", "\u{20AC}"]
      func word(_ most: Int) -> String {
        (0...random.below(most)).map { _ in random.element(letters) }.joined()
      }
      let stops = (0...random.below(2)).map { _ in word(4) }
      let text = word(14)
      var first: String.Index?
      for stop in stops {
        guard let range = text.firstRange(of: stop) else { continue }
        first = min(first ?? text.endIndex, range.lowerBound)
      }
      var pieces: [String] = []
      for character in text {
        if random.chance(2) || pieces.isEmpty { pieces.append("") }
        pieces[pieces.count - 1].append(character)
      }
      let (shown, tail, found) = run(stops, pieces)
      #expect(shown + tail == String(text[..<(first ?? text.endIndex)]), "\(stops) \(pieces)")
      #expect((found != nil) == (first != nil))
    }
  }
}
