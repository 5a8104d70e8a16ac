// Where the time and the memory of a conversion go.
// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Time and memory of each stage of a job.
public struct StageTimes: Sendable, Equatable {
  public struct Stage: Sendable, Equatable {
    /// read, calibrate, measure, solve, compress, write or check.
    public var name: String
    public var duration: Duration
    /// Most memory that the process has had meanwhile, in bytes.
    public var peakMemory: Int
  }

  /// In the order in which they first began.
  public var stages: [Stage] = []
  /// Of the solving of each layer that was solved.
  public var layers: [Int: Duration] = [:]

  /// Most memory of all stages, in bytes.
  public var peakMemory: Int { stages.map(\.peakMemory).max() ?? 0 }
  public var duration: Duration { stages.reduce(.zero) { $0 + $1.duration } }
}

/// Adds up what passes between one stage and the next.
final class StageClock {
  private var times = StageTimes()
  private var current: (name: String, layer: Int?)?
  private let clock = ContinuousClock()
  private var start: ContinuousClock.Instant

  init() { start = clock.now }

  /// The last stage ends, this one begins.
  func enter(_ stage: ConversionStage) {
    guard let next = StageClock.place(of: stage) else { return }
    // Tensors of a layer are one stage.
    if let current, current == next { return }
    end()
    current = next
  }

  /// The last stage ends.
  func finish() -> StageTimes {
    end()
    current = nil
    return times
  }

  private func end() {
    let now = clock.now
    if let current {
      let place = times.stages.firstIndex { $0.name == current.name } ?? times.stages.count
      if place == times.stages.count {
        times.stages.append(.init(name: current.name, duration: .zero, peakMemory: 0))
      }
      times.stages[place].duration += now - start
      times.stages[place].peakMemory = max(times.stages[place].peakMemory, PeakMemory.bytes)
      if let layer = current.layer { times.layers[layer, default: .zero] += now - start }
    }
    PeakMemory.restart()
    start = clock.now
  }

  /// nil: the stage goes on.
  private static func place(of stage: ConversionStage) -> (name: String, layer: Int?)? {
    switch stage {
    case .quantized, .learned: nil
    case .reading: ("read", nil)
    case .calibrating: ("calibrate", nil)
    case .measuring: ("measure", nil)
    case .quantizing(let name, _, _):
      // layers.3.query
      ("solve", name.hasPrefix("layers.") ? Int(name.split(separator: ".")[1]) : nil)
    case .compressing: ("compress", nil)
    case .writing: ("write", nil)
    case .checking: ("check", nil)
    }
  }
}

/// The most memory that this process has had since it was last asked to begin anew.
private enum PeakMemory {
  /// Begins anew where the system can (Linux, proc(5): clear_refs).
  static func restart() {
    let descriptor = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return }
    _ = write(descriptor, "5", 1)
    close(descriptor)
  }

  /// VmHWM, else what getrusage says.
  static var bytes: Int {
    if let status = try? String(contentsOfFile: "/proc/self/status", encoding: .utf8),
      let line = status.split(separator: "\n").first(where: { $0.hasPrefix("VmHWM:") }),
      let kilobytes = line.split(whereSeparator: { " \t".contains($0) }).dropFirst().first
        .flatMap({ Int($0) })
    {
      return kilobytes * 1024
    }
    var usage = rusage()
    return getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage) == 0 ? usage.ru_maxrss * 1024 : 0
  }
}
