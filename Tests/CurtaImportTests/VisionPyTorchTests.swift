// PyTorch files: what is read, and that everything else is refused by name.
// SPDX-License-Identifier: Apache-2.0

import CurtaTestSupport
import Foundation
import Testing

@testable import CurtaImport

@Suite struct VisionPyTorchTests {
  private func open(_ data: Data) throws -> PyTorchFile {
    try withScratch { folder in
      let path = folder.path + "/weights.pth"
      try data.write(to: URL(fileURLWithPath: path))
      return try PyTorchFile(path)
    }
  }

  /// {"w": a tensor}
  private func dictionary(_ make: (inout PickleBytes) -> Void) -> PickleBytes {
    var pickle = PickleBytes()
    pickle.op("}")
    pickle.text("w")
    make(&pickle)
    pickle.op("s")
    pickle.op(".")
    return pickle
  }

  private var sound: PickleBytes {
    dictionary { $0.tensor(key: "0", count: 6, offset: 1, shape: [2, 2]) }
  }

  @Test func aTensorIsAViewOfItsStorage() throws {
    let tensor = try #require(try open(pyTorchBytes(sound)).stored["w"])
    #expect(tensor.shape == [2, 2])
    #expect(try tensor.floats(0..<4) == [2, 3, 4, 5])
  }

  @Test func protocol4IsRead() throws {
    var pickle = PickleBytes(protocol: 4)
    pickle.raw([0x95])
    pickle.number(3, 8)  // a frame that is shorter than the rest, as frames may be
    pickle.op("}")
    pickle.raw([0x94, 0x8C, 1])  // MEMOIZE, SHORT_BINUNICODE
    pickle.raw(Array("v".utf8) + [0x94])
    pickle.raw([0x8C, 12] + Array("torch._utils".utf8))
    pickle.raw([0x8C, 18] + Array("_rebuild_tensor_v2".utf8) + [0x93])
    pickle.raw(Array("((".utf8))
    pickle.text("storage")
    pickle.global("torch", "FloatStorage")
    pickle.text("0")
    pickle.text("cuda:0")
    pickle.raw([UInt8(ascii: "K"), 6] + Array("tQK".utf8) + [0])
    pickle.raw([UInt8(ascii: "K"), 6, 0x85, UInt8(ascii: "K"), 1, 0x85, 0x88])
    pickle.raw(Array("}tR".utf8) + Array("s.".utf8))
    let tensor = try #require(try open(pyTorchBytes(pickle)).stored["v"])
    #expect(try tensor.floats(0..<6) == [1, 2, 3, 4, 5, 6])
  }

  @Test func aDictionaryMayHoldItself() throws {
    var pickle = PickleBytes()
    pickle.raw(Array("}".utf8) + [UInt8(ascii: "q"), 0])
    pickle.text("me")
    pickle.raw([UInt8(ascii: "h"), 0] + Array("s".utf8))
    pickle.text("w")
    pickle.tensor(key: "0", count: 6, shape: [6])
    pickle.raw(Array("s.".utf8))
    #expect(try open(pyTorchBytes(pickle)).stored.keys.sorted() == ["w"])
  }

  // MARK: - Refused

  @Test(arguments: [
    ("os", "system"), ("builtins", "eval"), ("posix", "system"), ("torch", "load"),
    ("torch._utils", "_rebuild_sparse_tensor"), ("numpy.core.multiarray", "scalar"),
    ("__builtin__", "getattr"), ("torch.nn.modules.linear", "Linear"), ("torch", "QInt8Storage"),
  ])
  func otherNamesAreRefused(_ module: String, _ name: String) throws {
    let pickle = dictionary { pickle in
      pickle.global(module, name)
      pickle.op("(")
      pickle.text("true")
      pickle.op("t")
      pickle.op("R")
    }
    let list = unsupportedList { _ = try open(pyTorchBytes(pickle)) }
    #expect(list.count == 1 && list[0].contains("\(module).\(name)"), "\(list)")
  }

  /// INST, OBJ, NEWOBJ, EXT1, PERSID, DUP, INT, NEWOBJ_EX, NEXT_BUFFER, and one that is none.
  @Test(arguments: [0x69, 0x6F, 0x81, 0x82, 0x50, 0x32, 0x49, 0x92, 0x97, 0xFF] as [UInt8])
  func otherOperationsAreRefused(_ operation: UInt8) throws {
    let pickle = dictionary { $0.raw([operation, 0, 0]) }
    let list = unsupportedList { _ = try open(pyTorchBytes(pickle)) }
    #expect(list.count == 1 && list[0].contains("0x\(String(operation, radix: 16))"), "\(list)")
  }

  @Test func callsWithOtherArgumentsAreRefused() throws {
    for call in [
      "collections OrderedDict", "torch._utils _rebuild_tensor_v2", "torch FloatStorage",
    ] {
      let names = call.split(separator: " ").map(String.init)
      let pickle = dictionary { pickle in
        pickle.global(names[0], names[1])
        pickle.tuple([1])
        pickle.op("R")
      }
      #expect(malformation { _ = try open(pyTorchBytes(pickle)) }?.reason == .wrongType, "\(call)")
    }
  }

  @Test func tensorsStayInTheirStorage() throws {
    func reason(
      _ shape: [Int], key: String = "0", count: Int = 6, offset: Int = 0,
      storage: String = "FloatStorage"
    ) -> Malformation.Reason? {
      let pickle = dictionary {
        $0.tensor(key: key, count: count, offset: offset, shape: shape, storage: storage)
      }
      return malformation { _ = try open(pyTorchBytes(pickle)) }?.reason
    }
    #expect(reason([6]) == nil)
    #expect(reason([7]) == .truncated)
    #expect(reason([6], offset: 1) == .truncated)
    #expect(reason([1], offset: Int.max) == .truncated)
    #expect(reason([1], offset: -1) == .wrongType)
    #expect(reason([6], count: 7) == .sizeMismatch)
    #expect(reason([6], count: Int.max) == .sizeMismatch)
    #expect(reason([6], key: "1") == .missingTensor)
    #expect(reason([6], key: "../data.pkl") == .missingTensor)
    #expect(reason([1 << 32, 1 << 32]) == .sizeOverflow)
    #expect(reason([Int.max, 0]) == nil, "an empty tensor")
    #expect(reason([-1]) == .wrongType)
    #expect(reason([1, 1, 1, 1, 1, 1, 1, 1, 1]) == .wrongType)
    #expect(reason([3], storage: "DoubleStorage") == .sizeMismatch)
  }

  @Test func stridesMustBeContiguous() throws {
    func list(_ strides: [Int]) -> [String] {
      let pickle = dictionary { $0.tensor(key: "0", count: 6, shape: [2, 3], strides: strides) }
      return unsupportedList { _ = try open(pyTorchBytes(pickle)) }
    }
    #expect(list([3, 1]) == [])
    #expect(list([1, 2]).first?.contains("contiguous") ?? false)
    #expect(list([0, 1]).count == 1)
    #expect(list([Int.max, 1]).count == 1)
  }

  @Test func otherContainersAreRefused() throws {
    #expect(unsupportedList { _ = try open(Data([0x80, 2, 0x8A, 10, 0, 0])) }.count == 1)
    #expect(unsupportedList { _ = try open(Data()) }.count == 1)
    let pickle = ZipBytes("x/data.pkl", sound.bytes)
    let storage = ZipBytes("x/data/0", [UInt8](repeating: 0, count: 24))
    func reason(_ files: [ZipBytes], comment: [UInt8] = []) -> Malformation.Reason? {
      malformation { _ = try open(zipBytes(files, comment: comment)) }?.reason
    }
    #expect(reason([pickle, storage]) == nil)
    #expect(reason([pickle, storage, storage]) == .duplicateName)
    #expect(reason([pickle, storage], comment: [1]) == .wrongType)
    #expect(reason([storage]) == .missingField)
    #expect(reason([pickle, storage, ZipBytes("y/data.pkl", [])]) == .missingField)
    var other = storage
    other.localName = "x/data/1"
    #expect(reason([pickle, other]) == .contradiction)
    other = storage
    other.method = 8
    #expect(unsupportedList { _ = try open(zipBytes([pickle, other])) }.count == 1)
    other = storage
    other.flags = 1
    #expect(unsupportedList { _ = try open(zipBytes([pickle, other])) }.count == 1)
    let big = ZipBytes("x/byteorder", Array("big".utf8))
    #expect(unsupportedList { _ = try open(zipBytes([pickle, storage, big])) }.count == 1)
  }

  @Test func aPickleWithoutTensorsIsRefused() throws {
    var pickle = PickleBytes()
    pickle.raw(Array("}.".utf8))
    #expect(unsupportedList { _ = try open(pyTorchBytes(pickle)) }.count == 1)
    pickle = PickleBytes()
    pickle.raw(Array("N.".utf8))
    #expect(unsupportedList { _ = try open(pyTorchBytes(pickle)) }.count == 1)
  }

  /// A member twice would be whichever a reader takes.
  @Test func aNameTwiceIsRefused() throws {
    var pickle = PickleBytes()
    pickle.op("}")
    for _ in 0..<2 {
      pickle.text("w")
      pickle.tensor(key: "0", count: 6, shape: [6])
      pickle.op("s")
    }
    pickle.op(".")
    #expect(malformation { _ = try open(pyTorchBytes(pickle)) }?.reason == .duplicateName)
  }

  // MARK: - Damaged

  /// Any error will do, and any tensor inside of the file; a crash will not.
  private func survives(_ data: Data, _ path: URL) throws {
    try data.write(to: path)
    do throws(ImportError) {
      let file = try PyTorchFile(path.path)
      for tensor in file.stored.values {
        #expect(tensor.offset >= 0 && tensor.count >= 0)
        #expect(tensor.offset + tensor.count <= data.count)
        _ = try? tensor.floats(0..<tensor.shape.reduce(1, *))
      }
    } catch {
      #expect(!error.description.isEmpty)
    }
  }

  @Test func everyPrefixAndEveryChangedByteIsSurvived() throws {
    try withScratch { folder in
      let path = folder.appendingPathComponent("weights.pth")
      let data = pyTorchBytes(sound)
      for count in 0..<data.count { try survives(data.prefix(count), path) }
      for at in 0..<data.count {
        for value in [0, 0xFF, data[at] ^ 1, data[at] ^ 0x80] as [UInt8] {
          var changed = data
          changed[at] = value
          try survives(changed, path)
        }
      }
    }
  }

  /// CURTA_SEED replays it.
  @Test func randomOperationsAreSurvived() throws {
    var random = SeededRandom(
      ProcessInfo.processInfo.environment["CURTA_SEED"].flatMap { UInt64($0) } ?? 7)
    let texts = [
      "q\0", "h\0", "K\u{2}", "ctorch\nFloatStorage\n", "ccollections\nOrderedDict\n",
      "ctorch._utils\n_rebuild_tensor_v2\n",
    ]
    var operations: [[UInt8]] = [[0x85], [0x86], [0x87], [0x88], [0x94], [0x93]]
    operations += "(0)t]ae}suRbQN".utf8.map { [$0] }
    operations += texts.map { Array($0.utf8) }
    try withScratch { folder in
      let path = folder.appendingPathComponent("weights.pth")
      for _ in 0..<2000 {
        var pickle = PickleBytes()
        for _ in 0..<random.below(40) { pickle.raw(random.element(operations)) }
        pickle.op(".")
        try survives(pyTorchBytes(pickle), path)
      }
    }
  }
}
