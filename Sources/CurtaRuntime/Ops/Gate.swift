// gate_quant: activation of the gate, times up where there is one, quantized to int8.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat
import CurtaKernels

extension OpWork {
  func gateQuant() {
    let gate = buffer(1)
    let up = op.operands[2] == Program.none ? nil : buffer(2)
    let table = curta_activation_entries(op.operands[4])
    let out = buffer(3)
    let width = Int(out.record.width)
    let n = UInt32(width)
    for t in rows(1) {
      let gateScale = scale(gate, row: t)
      kernels.activate(
        gate.values + t * width, n, gateScale.m, gateScale.e &- 16, table, scratch.wide)
      var scale = curta_scale(m: 1 << 15, e: 31)
      if let up {
        let s = narrow(scratch.wide, width, to: scratch.narrowA)
        let s2 = narrow(up.values + t * width, width, to: scratch.narrowB)
        kernels.multiply(scratch.narrowA, scratch.narrowB, n, scratch.wide)
        scale = self.scale(up, row: t)
        scale.e = scale.e &+ 16 &- s &- s2
      }
      quantizeRow(scratch.wide, scale, hadamard: op[5], to: out.codes, row: t)
    }
  }
}
