// Typed access to the fields of a JSON configuration, which remembers what was asked for.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor

/// The fields of a JSON object; null counts as absent.
///
/// Readers throw for a field that makes no sense. What makes sense but is beyond us goes to
/// `problems`, so that all of it can be told at once.
final class ConfigurationReader {
  let path: String
  private let root: [String: StrictJSON]
  /// In front of the names of fields in messages: "text_config.".
  private let group: String
  /// The context that somebody asks for; nil: the one that the configuration states.
  let context: Int?
  /// The context that the configuration states; `description` sets it.
  var statedContext = 0
  /// Fields that somebody has looked at.
  private(set) var seen: Set<String> = []
  /// Everything unsupported so far, each with what is supported.
  private(set) var problems: [String] = []

  init(_ path: String, context: Int? = nil) throws(ImportError) {
    self.path = path
    self.context = context
    group = ""
    guard let object = try StrictJSON.file(path).object else {
      throw .bad(.wrongType, file: path, "must be a JSON object")
    }
    root = object
  }

  private init(_ outer: ConfigurationReader, _ name: String, _ root: [String: StrictJSON]) {
    path = outer.path
    context = outer.context
    statedContext = outer.statedContext
    group = outer.group + name + "."
    self.root = root
  }

  /// Fields that a composite model has outside of its parts.
  private static let sharedFields: Set<String> = [
    "bos_token_id", "eos_token_id", "tie_word_embeddings", "quantization_config",
  ]

  /// The object of that name as a configuration; nil where there is none.
  func object(_ name: String) throws(ImportError) -> ConfigurationReader? {
    guard let value = value(name) else { return nil }
    guard let object = value.object else {
      throw .bad(.wrongType, file: path, field: named(name), "must be an object")
    }
    return ConfigurationReader(self, name, object)
  }

  /// The object of a part of a composite model; what it leaves open the whole may say.
  func part(_ name: String) throws(ImportError) -> ConfigurationReader? {
    let shared = root.filter { ConfigurationReader.sharedFields.contains($0.key) }
    guard let own = try object(name) else { return nil }
    return ConfigurationReader(self, name, own.root.merging(shared) { own, _ in own })
  }

  /// Fields that nobody has looked at, sorted.
  var unread: [String] { root.keys.filter { !seen.contains($0) }.sorted() }

  /// The name of a field, for messages.
  func named(_ field: String) -> String { group + field }

  /// The field, nil where it is absent or null.
  func value(_ field: String) -> StrictJSON? {
    seen.insert(field)
    guard let value = root[field], !value.isNull else { return nil }
    return value
  }

  /// Whether the field is there, be it null.
  func has(_ field: String) -> Bool {
    seen.insert(field)
    return root[field] != nil
  }

  /// The value without noting that it was asked for.
  func peek(_ field: String) -> StrictJSON? {
    guard let value = root[field], !value.isNull else { return nil }
    return value
  }

  // MARK: - Problems

  func report(_ problem: String) { problems.append(problem) }

  /// Reports a field that is none of what we can do.
  func report(_ field: String, _ value: StrictJSON, supported: String) {
    report(
      "config.json: \(named(field)) = \(printableName(value.summary, limit: 64)) "
        + "(supported: \(supported))")
  }

  /// Reports the field unless it is absent, null, or fine.
  func require(_ field: String, _ supported: String, _ isFine: (StrictJSON) -> Bool) {
    guard let value = value(field), !isFine(value) else { return }
    report(field, value, supported: supported)
  }

  // MARK: - Typed fields

  private func bad(_ field: String, _ value: StrictJSON, _ expected: String) -> ImportError {
    .bad(
      .outOfRange, file: path, field: named(field),
      "is \(printableName(value.summary, limit: 64)), not \(expected)")
  }

  /// An integer in 1…limit.
  func size(
    _ field: String, limit: Int, default absent: Int? = nil
  ) throws(ImportError) -> Int {
    guard let value = value(field) else {
      guard let absent else {
        throw .bad(.missingField, file: path, field: named(field), "is missing")
      }
      return absent
    }
    guard let size = value.integer, size > 0, size <= limit else {
      throw bad(field, value, "an integer from 1 to \(limit)")
    }
    return size
  }

  func flag(_ field: String, default absent: Bool) throws(ImportError) -> Bool {
    guard let value = value(field) else { return absent }
    guard let flag = value.bool else {
      throw .bad(
        .wrongType, file: path, field: named(field), "is \(value.summary), not true or false")
    }
    return flag
  }

  func number(
    _ field: String, in range: ClosedRange<Double>
  ) throws(ImportError) -> Double? {
    guard let value = value(field) else { return nil }
    guard let number = value.double, range.contains(number) else {
      throw bad(field, value, "a number from \(range.lowerBound) to \(range.upperBound)")
    }
    return number
  }

  /// A number above zero and far from overflow; nil where absent.
  func positive(_ field: String) throws(ImportError) -> Double? {
    guard let value = value(field) else { return nil }
    guard let number = value.double, number > 0, number <= 1e30, number >= 1e-30 else {
      throw bad(field, value, "a positive number")
    }
    return number
  }

  func positive(_ field: String, default absent: Double) throws(ImportError) -> Double {
    try positive(field) ?? absent
  }

  /// A list of so many positive numbers; nil where absent.
  func positives(_ field: String, count: Int) throws(ImportError) -> [Double]? {
    guard let value = value(field) else { return nil }
    guard let list = value.array, list.count == count else {
      throw bad(field, value, "a list of \(count) numbers")
    }
    var result: [Double] = []
    for element in list {
      guard let number = element.double, number > 0, number <= 1e30, number >= 1e-30 else {
        throw bad(field, element, "a list of positive numbers")
      }
      result.append(number)
    }
    return result
  }

  /// One token id or a list of them; nil where absent.
  func tokens(_ field: String, vocabularySize: Int) throws(ImportError) -> [Int32]? {
    guard let value = value(field) else { return nil }
    var result: [Int32] = []
    for element in value.array ?? [value] {
      guard let id = element.integer, id >= 0, id < vocabularySize else {
        throw .bad(
          .outOfRange, file: path, field: named(field),
          "holds \(printableName(element.summary, limit: 64)), "
            + "not a token id below \(vocabularySize)")
      }
      result.append(Int32(id))
    }
    return result
  }
}
