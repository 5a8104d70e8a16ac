// The images that a model is measured on: a folder of folders, a tar of them, or MNIST's own format.
// SPDX-License-Identifier: Apache-2.0

import CImageFiles
import Foundation

/// One image, not read yet.
public struct ImageEntry: Sendable, Equatable {
  /// Path in its folder or archive.
  public var name: String
  /// The folder that it is in; nil where there is none.
  public var className: String?
  /// Its label where a file of labels says so.
  public var label: Int?
  fileprivate var place: Place

  fileprivate enum Place: Equatable {
    case file(String)
    /// Bytes of the archive.
    case part(Range<Int>)
    /// Grey pixels in memory.
    case pixels(Range<Int>, width: Int, height: Int)
  }
}

/// Images with the names of their classes, in a fixed order.
public struct ImageSet {
  public var entries: [ImageEntry]
  private let archive: FileMapping?
  private let pixels: [UInt8]

  /// The images of a folder and those below it, or of a .tar. An image's class is the folder that
  /// it is in. Throws `HostError`.
  public init(_ path: String) throws(HostError) {
    var isFolder: ObjCBool = false
    guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) else {
      throw .system(path: path, reason: "no such file or folder")
    }
    pixels = []
    if isFolder.boolValue {
      archive = nil
      let names = FileManager.default.enumerator(atPath: path)?.compactMap { $0 as? String } ?? []
      entries = names.filter(ImageSet.isPicture).map { name in
        ImageEntry(
          name: name, className: ImageSet.folder(name), place: .file(path + "/" + name))
      }
    } else {
      let mapping = try FileMapping(path)
      archive = mapping
      entries = try TarArchive.files(mapping).filter { ImageSet.isPicture($0.name) }.map { file in
        ImageEntry(name: file.name, className: ImageSet.folder(file.name), place: .part(file.bytes))
      }
    }
    entries.sort { $0.name < $1.name }
    guard !entries.isEmpty else {
      throw .request(
        "\(path): no images in it (\(PixelImage.endings.sorted().joined(separator: ", ")))")
    }
    // Images at the top have no class; a lone folder of all of them is none either.
    if Set(entries.map(\.className)).count == 1 {
      for index in entries.indices { entries[index].className = nil }
    }
  }

  /// MNIST's pair of files, gzipped or not: images and labels. Throws `HostError`.
  public init(mnist images: String, labels: String) throws(HostError) {
    let (bytes, names) = (try ImageSet.idx(images, 2051), try ImageSet.idx(labels, 2049))
    func word(_ at: Int) -> Int {
      (0..<4).reduce(0) { $0 << 8 | Int(bytes[at + $1]) }
    }
    guard bytes.count >= 16, names.count >= 8 else {
      throw .image(path: images, reason: "a damaged file of MNIST")
    }
    let (count, height, width) = (word(4), word(8), word(12))
    guard count > 0, (1...4096).contains(height), (1...4096).contains(width),
      count <= (bytes.count - 16) / (height * width), names.count == 8 + count
    else { throw .image(path: images, reason: "the files of MNIST do not fit each other") }
    archive = nil
    pixels = bytes
    entries = (0..<count).map { i in
      let start = 16 + i * height * width
      return ImageEntry(
        name: "\(i)", className: nil, label: Int(names[8 + i]),
        place: .pixels(start..<start + height * width, width: width, height: height))
    }
  }

  private static func isPicture(_ name: String) -> Bool {
    let file = URL(fileURLWithPath: name)
    return PixelImage.endings.contains(file.pathExtension.lowercased())
      && !file.lastPathComponent.hasPrefix(".")
  }

  private static func folder(_ name: String) -> String? {
    name.split(separator: "/").dropLast().last.map(String.init)
  }

  private static func idx(_ path: String, _ magic: UInt32) throws(HostError) -> [UInt8] {
    let file = try FileMapping(path)
    let stored = UnsafeRawBufferPointer(start: file.bytes.base, count: file.bytes.count)
    var bytes = withExtendedLifetime(file) { [UInt8](stored) }
    if bytes.starts(with: [0x1F, 0x8B]) {
      var size = 0
      guard let memory = curta_gunzip(bytes, bytes.count, PictureLimits.file, &size) else {
        throw .image(path: path, reason: "a damaged gzip file")
      }
      bytes = Array(UnsafeBufferPointer(start: memory, count: size))
      free(memory)
    }
    let found = bytes.prefix(4).reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
    guard found == magic, bytes.count >= 8 else {
      throw .image(path: path, reason: "not such a file of MNIST (idx)")
    }
    return bytes
  }

  /// Reads an image. Throws `HostError`.
  public func image(_ entry: ImageEntry) throws(HostError) -> PixelImage {
    switch entry.place {
    case .file(let path): return try PixelImage(path: path)
    case .pixels(let range, let width, let height):
      return PixelImage(width: width, height: height, channels: 1, pixels: Array(pixels[range]))
    case .part(let range):
      guard let archive else { throw .request("\(entry.name): no archive") }
      let bytes = UnsafeRawBufferPointer(
        start: archive.bytes.base + range.lowerBound, count: range.count)
      return try PixelImage(bytes, name: "\(archive.path): \(entry.name)")
    }
  }

  /// Keeps so many images, evenly spaced over all.
  public mutating func keep(_ count: Int) {
    guard count < entries.count else { return }
    entries = (0..<count).map { entries[$0 * entries.count / count] }
  }

  /// Keeps the last so many.
  public mutating func keep(last count: Int) { entries = Array(entries.suffix(count)) }
}

extension ImageSet {
  /// Gives every image the number of its class: where all classes have the names of labels, theirs,
  /// else their place in the order of the names. Throws `HostError.request`.
  ///
  /// Does nothing where images have no classes.
  public mutating func setLabels(_ labels: [String], count: Int) throws(HostError) {
    let classes = Set(entries.compactMap(\.className)).sorted()
    guard !classes.isEmpty else {
      for entry in entries where entry.label ?? 0 >= count {
        throw .request("image \(entry.name) has the label \(entry.label!), of \(count)")
      }
      return
    }
    func plain(_ name: String) -> String {
      name.lowercased().replacing("_", with: " ").replacing("-", with: " ")
    }
    var places = Dictionary(
      labels.enumerated().map { (plain($0.element), $0.offset) }, uniquingKeysWith: { a, _ in a })
    if !classes.allSatisfy({ places[plain($0)] != nil }) {
      guard classes.count == count else {
        throw .request(
          "\(classes.count) folders (\(classes.prefix(3).joined(separator: ", ")), ...) and"
            + " \(count) labels"
            + (labels.isEmpty ? "" : " (\(labels.prefix(3).joined(separator: ", ")), ...)")
            + "; name the folders as the labels, or have one for each")
      }
      places = Dictionary(
        classes.enumerated().map { (plain($0.element), $0.offset) }, uniquingKeysWith: { a, _ in a }
      )
      guard places.count == count else {
        throw .request("folders have the same name but for case, '_' or '-'")
      }
    }
    for index in entries.indices {
      entries[index].label = entries[index].className.flatMap { places[plain($0)] }
    }
  }
}
