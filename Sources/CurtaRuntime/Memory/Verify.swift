// Compares the hashes of a file's sections, with all threads of the session that is made of it.
// SPDX-License-Identifier: Apache-2.0

import CCurta
import CurtaFormat

/// The payload of a file, each section looked at by the thread in whose share it begins.
private struct Verification {
  let file: CurtaFile
  /// Of each thread the first entry whose hash is wrong, or -1.
  let wrong: UnsafeMutablePointer<Int32>

  func part(_ part: Int, of parts: Int) {
    let share = SessionState.share(file.bytes.count, part, parts)
    wrong[part] = -1
    for i in 0..<Int(file.sectionCount) where file.isPayload(entry: i) {
      do throws(CurtaError) {
        if share.contains(Int(try file.section(i).offset)) { try file.verify(entry: i) }
      } catch {
        wrong[part] = Int32(i)
        return
      }
    }
  }
}

extension CurtaFile {
  /// `verifyPayload` by `threads` threads; overwrites `slots` [threads]. Throws the same.
  func verifyPayload(
    _ options: curta_options, threads: UInt32, slots: UnsafeMutablePointer<Int32>
  ) throws(CurtaError) {
    guard threads > 1, let parallel = options.parallel else {
      try verifyPayload()
      return
    }
    var job = Verification(file: self, wrong: slots)
    withUnsafeMutablePointer(to: &job) {
      parallel(
        options.parallel_context,
        { argument, part, parts in
          guard let argument else { return }
          argument.assumingMemoryBound(to: Verification.self).pointee
            .part(Int(part), of: Int(parts))
        }, UnsafeMutableRawPointer($0), threads)
    }
    // Shares ascend as entries do.
    for part in 0..<Int(threads) where slots[part] >= 0 { try verify(entry: Int(slots[part])) }
  }
}
