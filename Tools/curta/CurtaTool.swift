// The command `curta`: what it can do, and what its exit status says.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import CurtaRuntime

@main
struct CurtaTool: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "curta",
    abstract: "Neural networks in whole numbers: convert, run, check and measure .curta files.",
    discussion: """
      Results go to the standard output, everything else to the standard error.

      EXIT STATUS:
        0   done
        1   failed (a file that is not there, a full disk, ...)
        2   bad file: damaged, or not what it should be
        3   unsupported: sound, but beyond this version
        4   the plan needs more memory than there is
        64  wrong usage
      """,
    version: "curta 0.1.0",
    subcommands: [
      Convert.self, Calibrate.self, Merge.self, Run.self, Classify.self, Embed.self, Eval.self,
      Bench.self, Inspect.self,
      Verify.self, Plan.self,
    ])
  static func main() {
    startWithFastProducts()
    main(nil)
  }
}
