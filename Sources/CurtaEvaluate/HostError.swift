// Why something could not be done at the desk: the system, the file, the memory or the request.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat

/// What goes wrong around the runtime.
public enum HostError: Error, Equatable, Sendable {
  /// The operating system refused; `path` names the file.
  case system(path: String, reason: String)
  /// The runtime refused the file: why, and where.
  case file(path: String, CurtaError)
  /// The runtime refused a saved session: why, and at which byte.
  case savedSession(path: String, CurtaError)
  /// The session needs more memory than there is, both in bytes.
  case memory(needed: UInt64, available: UInt64)
  /// The threads could not be started.
  case threads(UInt32)
  /// A picture that cannot be read: why.
  case image(path: String, reason: String)
  /// What was asked for does not fit this file or text.
  case request(String)
}
