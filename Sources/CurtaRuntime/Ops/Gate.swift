// gate_quant: activation of the gate times up, quantized to int8.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat
import CurtaKernels

extension OpWork {
  func gateQuant() {
    let gate = buffer(1)
    let up = buffer(2)
    let out = buffer(3)
    let width = Int(out.record.width)
    let n = UInt32(width)
    for t in rows(1) {
      let gateScale = gate.codes.scales[t]
      let upScale = up.codes.scales[t]
      kernels.silu(gate.values + t * width, n, gateScale.m, gateScale.e &- 16, scratch.wide)
      let s = narrow(scratch.wide, width, to: scratch.narrowA)
      let s2 = narrow(up.values + t * width, width, to: scratch.narrowB)
      kernels.multiply(scratch.narrowA, scratch.narrowB, n, scratch.wide)
      let scale = curta_scale(m: upScale.m, e: upScale.e &+ 16 &- s &- s2)
      quantizeRow(scratch.wide, scale, hadamard: op[5], to: out.codes, row: t)
    }
  }
}
