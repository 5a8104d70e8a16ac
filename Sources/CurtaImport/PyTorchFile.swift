// The tensors of a PyTorch file (.pth): a state dict that torch.save wrote.
// SPDX-License-Identifier: Apache-2.0

/// A mapped and validated PyTorch file.
struct PyTorchFile: Sendable {
  let file: MappedFile
  let stored: [String: StoredTensor]

  /// Members of a training checkpoint that hold the state dict, the best first.
  private static let stateNames = ["state_dict", "model_state_dict", "model", "params"]

  init(_ path: String) throws(ImportError) {
    file = try MappedFile(path)
    let magic = file.count < 4 ? 0 : try file.load(UInt32.self, at: 0, of: "ZIP archive")
    guard magic == 0x0403_4B50 else {
      throw .unsupported([
        "\(path): not a ZIP archive as torch.save of version 1.6 and later writes it "
          + "(load it and save its state_dict again)"
      ])
    }
    let zip = try PyTorchZip(file)
    let pickles = zip.entries.keys.filter { $0.hasSuffix("/data.pkl") }
    guard pickles.count == 1, let pickle = pickles.first, let place = zip.entries[pickle] else {
      throw .bad(
        .missingField, file: path, field: "data.pkl", "\(pickles.count) pickles, not one",
        advice: "check that torch.save wrote this file")
    }
    let root = String(pickle.dropLast("data.pkl".count))
    try Self.checkByteOrder(zip, root)
    let (value, dictionaries) = try file.withBytes(
      at: place.offset, count: place.count, of: "data.pkl"
    ) { bytes throws(ImportError) in
      try PyTorchPickle.read(bytes, file: path, base: place.offset)
    }
    let members = try Self.stateDictionary(value, dictionaries, path)
    var stored: [String: StoredTensor] = [:]
    for (name, value) in members {
      guard case .tensor(let tensor) = value else { continue }
      guard
        stored.updateValue(
          try Self.stored(name, tensor, zip, root, offset: place.offset), forKey: name) == nil
      else {
        throw .bad(.duplicateName, file: path, field: name, "is there twice")
      }
    }
    self.stored = stored
  }

  private static func checkByteOrder(_ zip: PyTorchZip, _ root: String) throws(ImportError) {
    guard let entry = zip.entries[root + "byteorder"] else { return }
    let isLittle = try zip.file.withBytes(
      at: entry.offset, count: entry.count, of: "byteorder"
    ) { $0.elementsEqual("little".utf8) }
    guard isLittle else {
      throw .unsupported(["\(zip.file.path): another byte order (supported: little-endian)"])
    }
  }

  /// The dictionary with the tensors: the whole, or a member of it.
  private static func stateDictionary(
    _ value: PickleValue, _ dictionaries: [[(key: String, value: PickleValue)]], _ path: String
  ) throws(ImportError) -> [(key: String, value: PickleValue)] {
    func tensors(_ value: PickleValue?) -> [(key: String, value: PickleValue)]? {
      guard case .dictionary(let index) = value else { return nil }
      let hasTensors = dictionaries[index].contains {
        if case .tensor = $0.value { true } else { false }
      }
      return hasTensors ? dictionaries[index] : nil
    }
    if let found = tensors(value) { return found }
    if case .dictionary(let index) = value {
      for name in stateNames {
        let member = dictionaries[index].last { $0.key == name }
        if let found = tensors(member?.value) { return found }
      }
    }
    throw .unsupported([
      "\(path): \(value.summary) without tensors in it "
        + "(supported: a state_dict, alone or as \(stateNames.joined(separator: ", ")))"
    ])
  }

  /// Where a tensor's bytes are; throws where they are not all there.
  private static func stored(
    _ name: String, _ tensor: PickleTensor, _ zip: PyTorchZip, _ root: String, offset: Int
  ) throws(ImportError) -> StoredTensor {
    let path = zip.file.path
    let storage = tensor.storage
    guard let entry = zip.entries[root + "data/" + storage.key] else {
      throw .bad(
        .missingTensor, file: path, field: name,
        "its storage \(printableName(storage.key, limit: 32)) is not in the archive")
    }
    let width = storage.element.width
    guard storage.count <= entry.count / width, storage.count * width == entry.count else {
      throw .bad(
        .sizeMismatch, file: path, field: name, offset: entry.offset,
        "its storage of \(storage.count) elements has \(entry.count) bytes")
    }
    guard let count = checkedProduct(tensor.shape) else {
      throw .bad(.sizeOverflow, file: path, field: name, "shape \(tensor.shape) is beyond 64 bits")
    }
    guard tensor.isContiguous else {
      throw .unsupported([
        "\(path): \(printableName(name, limit: 64)) has the strides \(tensor.strides) for the sizes "
          + "\(tensor.shape) (supported: contiguous tensors; save them after .contiguous())"
      ])
    }
    guard tensor.offset <= storage.count, count <= storage.count - tensor.offset else {
      throw .bad(
        .truncated, file: path, field: name, offset: entry.offset,
        "\(count) elements from \(tensor.offset) on, its storage has \(storage.count)")
    }
    return StoredTensor(
      file: zip.file, name: name, shape: tensor.shape,
      offset: entry.offset + tensor.offset * width, count: count * width,
      coding: storage.element.coding.map { .floats($0) },
      typeName: "torch." + storage.element.rawValue, recordOffset: offset)
  }
}

extension TensorCatalog {
  /// The tensors of a state dict.
  init(_ file: PyTorchFile) {
    self.init(file.stored, place: file.file.path, authority: "the configuration")
  }
}
