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
    var orders = cpus.prefix(Int(plan.threads)).map { PinOrder(cpu: $0, refused: false) }
    orders.withUnsafeMutableBytes { orders in
      let task: @convention(c) (UnsafeMutableRawPointer?, UInt32, UInt32) -> Void = {
        orders, part, _ in
        let order = orders!.assumingMemoryBound(to: PinOrder.self) + Int(part)
        order.pointee.refused = curta_pin_thread(order.pointee.cpu) == 0
      }
      if let pool {  // part i is thread i's
        curta_pool_run(UnsafeMutableRawPointer(pool), task, orders.baseAddress, plan.threads)
      } else {
        task(orders.baseAddress, 0, 1)
      }
    }
    if let order = orders.first(where: \.refused) {
      throw .request("this program may not run on CPU \(order.cpu); `taskset -p $$` says on which")
    }
  }
}

private struct PinOrder {
  let cpu: UInt32
  var refused: Bool
}
