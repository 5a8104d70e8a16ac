// What the format cannot hold of a vision transformer, all of it in one list.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat
import CurtaTensor

extension VisionDescription {
  /// Lists everything about the model that passes a limit of the format. Throws `ConversionError`.
  func checkLimits() throws(ConversionError) {
    var problems = body.problems
    let limits: [(String, Int, Int)] = [
      ("height of an image", height, Int(Limits.imageSide)),
      ("width of an image", width, Int(Limits.imageSide)),
      ("numbers in a patch", patchElements, Int(Limits.codesWidth)),
      ("prefix rows", prefixRows, 64),
      ("width of the head's inner layer", headWidth ?? 0, Int(Limits.codesWidth)),
    ]
    problems += limits.filter { $0.1 > $0.2 }.map { "\($0.0): \($0.1) (at most \($0.2))" }
    if case .crop(let edge) = resize,
      !(max(height, width)...Int(Limits.imageEdge)).contains(edge)
    {
      problems.append(
        "edge before the centre is cut out: \(edge) (\(max(height, width)) to \(Limits.imageEdge))")
    }
    if body.attention.contains(where: { $0.rotary != nil }) {
      problems.append("rotary positions in an image")
    }
    if !hasHead {
      if !hasFinalNorm {
        problems.append("features without a norm behind the last layer")
      } else if !normsPooledRow, case .mean = pooling {
        problems.append("features that are the mean of normed rows")
      }
    }
    guard problems.isEmpty else { throw .unsupported(problems) }
  }
}
