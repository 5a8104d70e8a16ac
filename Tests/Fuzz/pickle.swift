// Fuzz target: a PyTorch file, or a pickle in a sound one.
// SPDX-License-Identifier: Apache-2.0

import Foundation

@testable import CurtaImport

private let file = MemoryFile("weights.pth")

/// A recorded model of the import tests, and the pickle in it.
private let seeds: [[UInt8]] = {
  let folder = "Tests/CurtaImportTests/Reference/vision/"
  guard let whole = try? Repository.bytes(folder + "torch-behind/weights.pth") else {
    fatalError("no recorded PyTorch file")
  }
  var small = PickleBytes(protocol: 4)
  small.raw([0x95, 0, 0, 0, 0, 0, 0, 0, 0])
  small.raw(Array("}".utf8) + [0x94])
  small.text("w")
  small.tensor(key: "0", count: 6, offset: 1, shape: [2, 2])
  small.raw(Array("s.".utf8))
  var pickles = [whole, small.bytes]
  whole.withUnsafeBytes { file.fill($0) }
  if let zip = try? PyTorchZip(MappedFile(file.path)),
    let entry = zip.entries.first(where: { $0.key.hasSuffix("/data.pkl") })?.value
  {
    pickles.append(Array(whole[entry.offset..<entry.offset + entry.count]))
  }
  return pickles
}()

@c(LLVMFuzzerTestOneInput)
public func fuzzPickle(_ data: UnsafePointer<UInt8>?, _ size: Int) -> Int32 {
  var bytes = [UInt8](UnsafeBufferPointer(start: data, count: size))
  if !bytes.starts(with: Array("PK".utf8)) {
    var pickle = PickleBytes()
    pickle.bytes = bytes
    bytes = Array(pyTorchBytes(pickle))
  }
  bytes.withUnsafeBytes { file.fill($0) }
  do throws(ImportError) {
    let found = try PyTorchFile(file.path)
    for tensor in found.stored.values {
      guard tensor.offset > 0, tensor.count >= 0, tensor.offset + tensor.count <= bytes.count else {
        fatalError("\(tensor.name) is outside of the file")
      }
      guard tensor.coding != nil else { continue }
      let values = try? tensor.floats(0..<tensor.shape.reduce(1, *))
      guard values?.allSatisfy(\.isFinite) ?? true else { fatalError("a value is not finite") }
    }
  } catch {
    guard !error.description.isEmpty else { fatalError("an error without a text") }
  }
  return 0
}

/// Operations of pickle that are read, with some that are not.
private let operations: [[UInt8]] = {
  let texts = [
    "q\0", "h\0", "h\u{1}", "K\u{2}", "ctorch\nFloatStorage\n", "ctorch\nHalfStorage\n",
    "ccollections\nOrderedDict\n", "ctorch._utils\n_rebuild_tensor_v2\n",
    "ctorch._utils\n_rebuild_parameter\n", "cos\nsystem\n", "X\u{1}\0\0\00",
  ]
  var operations: [[UInt8]] = [[0x85], [0x86], [0x87], [0x88], [0x89], [0x94], [0x93], [0x81]]
  operations.append([0x8A, 8, 255, 255, 255, 255, 255, 255, 255, 127])
  operations.append([0x95, 255, 255, 255, 255, 255, 255, 255, 255])
  operations += "(0)t]ae}suRbQN.".utf8.map { [$0] }
  return operations + texts.map { Array($0.utf8) }
}()

private let interesting: [UInt64] = [
  0, 1, 2, 8, 22, 31, 255, 1 << 16 - 1, 1 << 16, 1 << 31 - 1, 1 << 31, 1 << 32 - 1, 1 << 40,
  1 << 61, 1 << 62, 1 << 63 - 1, 1 << 63, .max,
]

/// Operations are put in, taken out and repeated, numbers become others, or libFuzzer chooses.
@c(LLVMFuzzerCustomMutator)
public func mutatePickle(
  _ data: UnsafeMutablePointer<UInt8>?, _ size: Int, _ most: Int, _ seed: UInt32
) -> Int {
  guard let data else { return 0 }
  var random = SeededRandom(UInt64(seed))
  var bytes = [UInt8](UnsafeBufferPointer(start: data, count: size))
  if size < 8 || random.chance(16) { bytes = random.element(seeds) }
  if random.chance(4) {
    let count = replace(data, most, with: bytes)
    return libFuzzerMutate(data, count, most)
  }
  // The directory of an archive is at its end.
  let tail = max(0, bytes.count - 4096)
  for _ in 0...random.below(3) where !bytes.isEmpty {
    let isArchive = bytes.starts(with: Array("PK".utf8))
    let first = isArchive && random.chance(2) ? min(tail, bytes.count - 1) : 0
    let at = first + random.below(bytes.count - first)
    switch random.below(6) {
    case 0: bytes[at] ^= 1 << UInt8(random.below(8))
    case 1: bytes[at] = UInt8(random.below(256))
    case 2: bytes.insert(contentsOf: random.element(operations), at: at)
    case 3: bytes.removeSubrange(at..<min(bytes.count, at + 1 + random.below(16)))
    case 4:
      let run = Array(bytes[at..<min(bytes.count, at + 1 + random.below(64))])
      bytes.insert(contentsOf: run, at: random.below(bytes.count))
    default:
      let value = random.element(interesting)
      for i in 0..<random.element([1, 2, 4, 8]) where at + i < bytes.count {
        bytes[at + i] = UInt8(truncatingIfNeeded: value >> UInt64(8 * i))
      }
    }
  }
  return replace(data, most, with: bytes)
}
