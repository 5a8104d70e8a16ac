// swift-tools-version: 6.2
// A Swift program over Curta's runtime alone: no Foundation, no zstd, no threads.
// SPDX-License-Identifier: Apache-2.0
//
//   swift run -c release --package-path Examples/swift-app story MODEL.curta
// MODEL.curta is one that `curta convert --codec lz4` (or stored) wrote.

import PackageDescription

let package = Package(
  name: "swift-app",
  dependencies: [.package(name: "Curta", path: "../..")],
  targets: [
    .executableTarget(
      name: "story", dependencies: [.product(name: "CurtaStatic", package: "Curta")],
      swiftSettings: [.swiftLanguageMode(.v6)])
  ])
