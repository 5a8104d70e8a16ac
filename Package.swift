// swift-tools-version: 6.2
// Curta: one file, whole numbers, little power. Targets are grouped by what they may depend on.
// SPDX-License-Identifier: Apache-2.0

import Foundation
import PackageDescription

/// CURTA_EMBEDDED=1 builds only the runtime, in Embedded Swift mode (see Tools/build-static).
let embedded = ProcessInfo.processInfo.environment["CURTA_EMBEDDED"] == "1"

let runtimeSettings: [SwiftSetting] =
  [.swiftLanguageMode(.v6)] + (embedded ? [.enableExperimentalFeature("Embedded")] : [])

// MARK: - Runtime: integers only, no Foundation, nothing below libc

var targets: [Target] = [
  .target(name: "CurtaKernels", exclude: ["kernels.inc"]),
  .target(name: "CCurta"),
  .target(name: "CurtaFormat", dependencies: ["CurtaKernels"], swiftSettings: runtimeSettings),
  .target(
    name: "CurtaRuntime", dependencies: ["CurtaFormat", "CurtaKernels", "CCurta"],
    swiftSettings: runtimeSettings),
]
var products: [Product] = [
  .library(name: "CurtaStatic", type: .static, targets: ["CurtaRuntime"])
]
var dependencies: [Package.Dependency] = []

if !embedded {
  // MARK: - Platform: the only place that calls the operating system

  targets += [
    .systemLibrary(name: "CZstd", pkgConfig: "libzstd", providers: [.apt(["libzstd-dev"])]),
    .systemLibrary(name: "CLZ4", pkgConfig: "liblz4", providers: [.apt(["liblz4-dev"])]),
    .systemLibrary(
      name: "COpenBLAS", pkgConfig: "openblas", providers: [.apt(["libopenblas-dev"])]),
    .systemLibrary(
      name: "CJPEG", pkgConfig: "libjpeg", providers: [.apt(["libjpeg62-turbo-dev"])]),
    .systemLibrary(name: "CPNG", pkgConfig: "libpng", providers: [.apt(["libpng-dev"])]),
    .target(
      name: "CImageFiles", dependencies: ["CJPEG", "CPNG"], linkerSettings: [.linkedLibrary("z")]),
    .target(name: "CurtaPlatform", dependencies: ["CCurta"]),
  ]

  // MARK: - Converter: checkpoints to .curta files

  targets += [
    .target(name: "CurtaTensor", dependencies: ["COpenBLAS"]),
    .target(name: "CurtaImport", dependencies: ["CurtaTensor"]),
    .target(
      name: "CurtaQuantize", dependencies: ["CurtaTensor", "CurtaFormat", "COpenBLAS"]),
    .target(name: "CurtaWrite", dependencies: ["CurtaFormat", "CurtaPlatform", "CZstd", "CLZ4"]),
    .target(name: "CCalibrationText", exclude: ["README.md", "calibration.txt"]),
    .target(
      name: "CurtaCompile",
      dependencies: [
        "CCalibrationText", "CurtaImport", "CurtaQuantize", "CurtaWrite", "CurtaFormat",
        "CurtaRuntime",
      ]),
    .target(
      name: "CurtaEvaluate",
      dependencies: [
        "CurtaCompile", "CurtaImport", "CurtaQuantize", "CurtaTensor", "CurtaRuntime", "CurtaWrite",
        "CurtaPlatform",
        "CImageFiles",
      ]),
  ]

  // MARK: - Tools

  dependencies += [.package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2")]
  products += [.executable(name: "curta", targets: ["curta"])]
  targets += [
    .executableTarget(
      name: "curta",
      dependencies: [
        "CurtaCompile", "CurtaEvaluate", "CurtaImport", "CurtaWrite", "CurtaRuntime",
        "CurtaPlatform",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ],
      path: "Tools/curta")
  ]

  // MARK: - Tests: one target per source target

  targets += [.target(name: "CurtaTestSupport", path: "Tests/CurtaTestSupport")]
  /// Tests of a target, with what they need besides it.
  func tests(_ name: String, _ others: [Target.Dependency] = [], exclude: [String] = []) {
    targets.append(
      .testTarget(
        name: name + "Tests", dependencies: [.byName(name: name), "CurtaTestSupport"] + others,
        exclude: exclude))
  }
  tests("CurtaKernels")
  tests("CurtaFormat", ["CCurta"])
  tests("CurtaRuntime", ["CCurta", "CurtaFormat", "CurtaKernels", "CurtaPlatform"])
  tests("CurtaTensor", exclude: ["Reference"])
  tests("CurtaImport", ["CurtaTensor", "CurtaFormat", "CurtaRuntime"], exclude: ["Reference"])
  tests("CurtaQuantize", ["CurtaTensor"], exclude: ["Reference"])
  tests("CurtaWrite", ["CurtaFormat", "CurtaPlatform", "CZstd", "CLZ4"])
  tests(
    "CurtaCompile",
    ["CurtaImport", "CurtaQuantize", "CurtaTensor", "CurtaWrite", "CurtaFormat", "CurtaRuntime"])
  tests(
    "CurtaEvaluate",
    ["CurtaCompile", "CurtaImport", "CurtaTensor", "CurtaFormat", "CurtaRuntime", "CurtaWrite"])
  targets.append(
    .testTarget(name: "CurtaToolTests", dependencies: ["curta", "CurtaTestSupport"]))
}

let package = Package(
  name: "Curta", products: products, dependencies: dependencies, targets: targets)
