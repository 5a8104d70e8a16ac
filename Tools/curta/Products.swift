// Fast products on processors that are younger than OpenBLAS.
// SPDX-License-Identifier: Apache-2.0

import CurtaTensor
import Glibc

/// Starts the program anew with OpenBLAS told what the processor can do, where it does not know it.
///
/// OpenBLAS chooses its kernels before the first line of a program runs. Returns where they are right,
/// where somebody chose them (`OPENBLAS_CORETYPE`), or where the program cannot be started again.
func startWithFastProducts() {
  let variable = "OPENBLAS_CORETYPE"
  guard getenv(variable) == nil, let name = betterProcessorOfProducts else { return }
  var path = [CChar](repeating: 0, count: Int(PATH_MAX) + 1)
  guard readlink("/proc/self/exe", &path, path.count - 1) > 0 else { return }
  setenv(variable, name, 1)
  execv(path, CommandLine.unsafeArgv)
}
