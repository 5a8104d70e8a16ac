// Which processors do a session's threads run on?
// SPDX-License-Identifier: Apache-2.0

import CurtaPlatform

extension HostSession {
  /// Keeps thread i of the session on the processor cpus[i], counted from 0 as the system does; the
  /// calling thread is thread 0. Throws `HostError` when there are fewer processors than threads or
  /// the system refuses one.
  public func pin(to cpus: [UInt32]) throws(HostError) {
    guard cpus.count >= plan.threads else {
      throw .request("\(plan.threads) threads need as many CPUs, not \(cpus.count)")
    }
    for (i, cpu) in cpus.prefix(Int(plan.threads)).enumerated()
    where curta_pool_pin(pool, UInt32(i), cpu) == 0 {
      throw .request("this program may not run on CPU \(cpu); `taskset -p $$` says on which")
    }
  }
}
