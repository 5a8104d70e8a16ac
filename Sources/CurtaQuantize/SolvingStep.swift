// What one step of quantization left of a tensor's error, and what it took.
// SPDX-License-Identifier: Apache-2.0

/// A step of a tensor's quantization: rounding to nearest, or a solver.
public struct SolvingStep: Sendable, Equatable {
  /// `nearest`, or the name of the solver.
  public var name: String
  /// The mean squared error of the outputs after it over the mean square of the outputs; of inputs
  /// that the solvers see.
  public var error: Double
  /// Seconds, added up over all cores.
  public var seconds: Double

  public init(name: String, error: Double, seconds: Double) {
    self.name = name
    self.error = error
    self.seconds = seconds
  }
}

/// What the steps left in some rows.
struct SolvingTrace: Sendable {
  /// Σ w H wᵀ.
  let energy: Double
  /// Σ (w − ŵ) H (w − ŵ)ᵀ before the first solver, and after each.
  private(set) var errors: [Double]
  /// Of each solver.
  private(set) var seconds: [Double] = []

  init(energy: Double, error: Double) {
    self.energy = energy
    errors = [error]
  }

  mutating func append(error: Double, _ duration: Duration) {
    errors.append(error)
    let (seconds, attoseconds) = duration.components
    self.seconds.append(Double(seconds) + Double(attoseconds) * 1e-18)
  }

  /// The steps of a tensor whose rows these are the traces of.
  static func steps(_ traces: [SolvingTrace], _ solvers: [Solver]) -> [SolvingStep] {
    let energy = traces.reduce(0) { $0 + $1.energy }
    return (0...solvers.count).map { step in
      SolvingStep(
        name: step == 0 ? "nearest" : solvers[step - 1].rawValue,
        error: traces.reduce(0) { $0 + $1.errors[step] } / (energy > 0 ? energy : 1),
        seconds: step == 0 ? 0 : traces.reduce(0) { $0 + $1.seconds[step - 1] })
    }
  }
}
