// Why an operation failed: one code per reason, and where it was seen.
// SPDX-License-Identifier: Apache-2.0

/// A reason, as listed in `Formats/registry.tsv` and returned by the C functions.
public enum Status: Int32, Sendable {
  case ok = 0
  /// The file ends before the bytes it declares.
  case truncated = 1
  /// The first eight bytes are not Curta's.
  case badMagic = 2
  /// The version is one this reader does not know.
  case badVersion = 3
  /// A stored hash differs from the bytes it covers.
  case badChecksum = 4
  /// A declared size wraps, is zero where it may not be, or disagrees with another.
  case badSize = 5
  /// A section is not where the order and the alignment put it.
  case badLayout = 6
  /// A padding or reserved byte is not zero.
  case badPadding = 7
  /// A section or key occurs twice or out of order.
  case duplicate = 8
  /// A section that every file needs is absent.
  case missing = 9
  /// A section or op marked as required is of a kind this reader does not know.
  case unknown = 10
  /// A compressed section is not one valid frame of exactly the declared sizes.
  case badFrame = 11
  /// Text is not valid UTF-8, or holds a NUL.
  case badText = 12
  /// A metadata entry is malformed.
  case badMetadata = 13
  /// A tensor descriptor is malformed.
  case badTensor = 14
  /// A value inside a payload is outside its range.
  case badPayload = 15
  /// An op or one of its operands is malformed.
  case badProgram = 16
  /// A buffer, state or slot is malformed or read before it is written.
  case badPlan = 17
  /// The tokenizer section is malformed.
  case badTokenizer = 18
  /// A count or size is above a limit of this version.
  case overLimit = 19
  /// Valid, but this build cannot do it.
  case unsupported = 20
  /// An argument of the call is outside its range.
  case badArgument = 21
  /// The caller's memory is smaller than the plan says.
  case arenaTooSmall = 22
  /// The step does not fit in the context.
  case contextFull = 23
  /// The file needs a codec for which no callback was given.
  case codecMissing = 24
  /// A pointer is not aligned as the contract says.
  case unaligned = 25
  /// The caller's output buffer is too small.
  case outputTooSmall = 26
  /// A saved session is one of another model.
  case wrongModel = 27
}

/// A status with the place it belongs to.
public struct CurtaError: Error, Equatable, Sendable {
  public var status: Status
  /// Kind of the section (see `registry.tsv`), 0 for header, directory and calls.
  public var section: UInt32
  /// Byte offset in the file for the header and directory; within the decoded section otherwise.
  /// For the program it is the offset of the op's record.
  public var offset: UInt64

  public init(_ status: Status, section: UInt32 = 0, at offset: UInt64 = 0) {
    self.status = status
    self.section = section
    self.offset = offset
  }
}
