// How a long text is cut into windows that a model can see at once.
// SPDX-License-Identifier: Apache-2.0

/// A stretch of a document: `inputs` go in, and each of the last `scored` of them predicts its
/// target.
public struct TokenWindow: Sendable, Equatable {
  /// At most the context; the first has position 0.
  public var inputs: [Int32]
  /// The token after each input: [inputs.count].
  public var targets: [Int32]
  /// How many predictions at the end count, 1 … inputs.count.
  public var scored: Int
}

/// Windows with a stride, as perplexity of fixed-length models is measured in the field.
///
/// Every token of a document but the first is predicted once. A window holds at most `context`
/// inputs and begins `stride` inputs after the one before it, in the same document; the first of a
/// document scores all of its predictions, a later one those that no window has scored, so each
/// sees at least `context − stride` tokens before it.
public struct TokenWindows: Sendable {
  public let context: Int
  public let stride: Int

  /// 1 <= stride <= context.
  public init(context: Int, stride: Int) {
    precondition(stride >= 1 && stride <= context)
    self.context = context
    self.stride = stride
  }

  /// The windows of one document.
  public func windows(of document: [Int32]) -> [TokenWindow] {
    var result: [TokenWindow] = []
    let predictions = document.count - 1
    var done = 0
    var begin = 0
    while done < predictions {
      let end = min(begin + context, predictions)
      result.append(
        TokenWindow(
          inputs: Array(document[begin..<end]), targets: Array(document[begin + 1...end]),
          scored: end - done))
      done = end
      begin += stride
    }
    return result
  }

  /// The windows of all documents in order, cut off after `limit` scored predictions.
  public func windows(of documents: [[Int32]], limit: Int? = nil) -> [TokenWindow] {
    var result: [TokenWindow] = []
    var left = limit ?? Int.max
    for document in documents {
      for window in windows(of: document) {
        guard left > 0 else { return result }
        let surplus = max(0, window.scored - left)
        result.append(window.dropping(last: surplus))
        left -= window.scored - surplus
      }
    }
    return result
  }
}

extension TokenWindow {
  /// The window without its last `count` predictions.
  fileprivate func dropping(last count: Int) -> TokenWindow {
    TokenWindow(
      inputs: inputs.dropLast(count), targets: targets.dropLast(count), scored: scored - count)
  }
}
