// stub
struct PyTorchFile { init(_ path: String) throws(ImportError) { throw .unsupported([path]) } ; let stored: [String: StoredTensor] = [:]; let path = "" }
extension TensorCatalog {
  init(_ file: PyTorchFile) { self.init(file.stored, place: file.path, authority: "the state dict") }
}
