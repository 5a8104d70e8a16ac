// Replacements of a normalizer as the automaton that the runtime walks.
// SPDX-License-Identifier: Apache-2.0

/// The smallest automaton without cycles for a list of replacements.
///
/// SentencePiece's usual map has 225 000 of them, most of Hangul in several spellings: shared ends
/// make 5 MB of texts 0.3 MB.
struct TokenizerMap {
  /// Nodes and edges, `Formats/curta-tokenizer.md`, "map".
  private(set) var words: [UInt32] = []
  /// {u8 size, bytes} of each replacement.
  private(set) var texts: [UInt8] = []
  /// Bytes of a replacement for each byte of its source, at most.
  private(set) var growth = 0

  private struct Node: Hashable {
    var value: Int?
    var edges: [Edge] = []
  }

  private struct Edge: Hashable {
    var byte: UInt8
    var node: Int
  }

  private var nodes: [Node] = []
  private var known: [Node: Int] = [:]
  private var offsets: [[UInt8]: Int] = [:]

  init(_ entries: [TokenizerTables.Replacement]) {
    let usable = entries.filter { !$0.source.isEmpty }
    guard !usable.isEmpty else { return }
    // A precompiled map comes in order.
    var sorted = usable
    let isSorted = zip(usable, usable.dropFirst())
      .allSatisfy { $0.source.lexicographicallyPrecedes($1.source) }
    if !isSorted { sorted.sort { $0.source.lexicographicallyPrecedes($1.source) } }
    for entry in sorted {
      let size = entry.source.count
      growth = max(growth, (entry.replacement.count + size - 1) / size)
    }
    let root = build(sorted[...], depth: 0)
    lay(root)
  }

  /// The node for entries that are the same up to `depth`; equal ends are one node.
  private mutating func build(
    _ entries: ArraySlice<TokenizerTables.Replacement>, depth: Int
  ) -> Int {
    var node = Node()
    var rest = entries
    while let entry = rest.first, entry.source.count == depth {
      node.value = offset(of: entry.replacement)
      rest = rest.dropFirst()
    }
    while let byte = rest.first?.source[depth] {
      var end = rest.startIndex
      while end < rest.endIndex, rest[end].source[depth] == byte { end += 1 }
      node.edges.append(Edge(byte: byte, node: build(rest[..<end], depth: depth + 1)))
      rest = rest[end...]
    }
    if let same = known[node] { return same }
    nodes.append(node)
    known[node] = nodes.count - 1
    return nodes.count - 1
  }

  private mutating func offset(of replacement: [UInt8]) -> Int {
    if let known = offsets[replacement] { return known }
    let offset = texts.count
    offsets[replacement] = offset
    texts.append(UInt8(truncatingIfNeeded: replacement.count))
    texts += replacement
    return offset
  }

  /// A node is made after those it leads to, so that the last goes first.
  private mutating func lay(_ root: Int) {
    var places = [Int](repeating: 0, count: nodes.count)
    var next = 0
    for number in nodes.indices.reversed() {
      places[number] = next
      next += 1 + nodes[number].edges.count
    }
    words.reserveCapacity(next)
    for node in nodes.reversed() {
      let value = node.value.map { UInt32($0 + 1) } ?? 0
      words.append(1 << 31 | value << 9 | UInt32(node.edges.count))
      for edge in node.edges {
        words.append(UInt32(edge.byte) << 23 | UInt32(places[edge.node]))
      }
    }
  }
}
