// What every status of the format means to a person, and what to do about it: the one table.
// SPDX-License-Identifier: Apache-2.0

import CurtaFormat

/// The words for a status.
struct StatusText {
  /// As in `Formats/registry.tsv`.
  let name: String
  let sentence: String
  let advice: String

  private static let fetch = "Fetch the file again, or convert the model again."
  private static let update = "Use a newer version of curta, or convert the model with this one."
  private static let report = "The file was made wrongly: convert the model again, with curta."

  static func of(_ status: Status) -> StatusText {
    switch status {
    case .ok:
      .init("ok", "The file is sound.", "Nothing is to be done.")
    case .truncated:
      .init("truncated", "The file ends before the bytes that it declares.", fetch)
    case .badMagic:
      .init(
        "bad_magic", "This is not a Curta file, or it was changed as if it were text.",
        "Check the path. Copy the file in binary mode.")
    case .badVersion:
      .init("bad_version", "The file's version is one that this program does not know.", update)
    case .badChecksum:
      .init("bad_checksum", "Bytes were changed since the file was written.", fetch)
    case .badSize:
      .init("bad_size", "A size that the file declares is impossible.", report)
    case .badLayout:
      .init("bad_layout", "A section is not where it must be.", report)
    case .badPadding:
      .init("bad_padding", "Bytes that must be zero are not.", report)
    case .duplicate:
      .init("duplicate", "A section or key occurs twice or out of order.", report)
    case .missing:
      .init("missing", "A section that every file needs is absent.", report)
    case .unknown:
      .init("unknown", "The file needs a section or an op that this program lacks.", update)
    case .badFrame:
      .init("bad_frame", "A compressed section does not decode to what it should.", fetch)
    case .badText:
      .init("bad_text", "A text in the file is not UTF-8.", report)
    case .badMetadata:
      .init("bad_metadata", "The metadata is malformed.", report)
    case .badTensor:
      .init("bad_tensor", "A tensor's description is malformed.", report)
    case .badPayload:
      .init("bad_payload", "A number in a tensor is outside its range.", report)
    case .badProgram:
      .init("bad_program", "An op of the program is malformed.", report)
    case .badPlan:
      .init("bad_plan", "The program reads memory that it has not written.", report)
    case .badTokenizer:
      .init("bad_tokenizer", "The tokenizer is malformed.", report)
    case .overLimit:
      .init("over_limit", "A size is above a limit of the format.", report)
    case .unsupported:
      .init("unsupported", "The file is valid, but this program cannot do it.", update)
    case .badArgument:
      .init(
        "bad_argument", "A number that was asked for is outside its range.",
        "See curta plan FILE for the sizes that this file allows.")
    case .arenaTooSmall:
      .init(
        "arena_too_small", "The memory is smaller than the plan says.",
        "Give the bytes that curta plan FILE prints.")
    case .contextFull:
      .init(
        "context_full", "The tokens do not fit in the context.",
        "Shorten the prompt, or raise --context up to what the file allows.")
    case .codecMissing:
      .init(
        "codec_missing", "The file needs a codec that is not there.",
        "Convert with --codec stored or lz4.")
    case .unaligned:
      .init("unaligned", "Memory is not aligned to 64 bytes.", "Report this as a bug of curta.")
    case .outputTooSmall:
      .init(
        "output_too_small", "The room for the result is too small.",
        "Report this as a bug of curta.")
    case .wrongModel:
      .init(
        "wrong_model", "The session was saved with another model.",
        "Give the .curta file that it was saved with; converting again makes another model.")
    }
  }

  private init(_ name: String, _ sentence: String, _ advice: String) {
    self.name = name
    self.sentence = sentence
    self.advice = advice
  }

  /// "chat.session: The session was saved with another model. (wrong_model, byte 24) Give …"
  static func ofSavedSession(_ error: CurtaError, path: String) -> String {
    let text = of(error.status)
    let (sentence, advice): (String, String) =
      switch error.status {
      case .wrongModel: (text.sentence, text.advice)
      case .contextFull:
        (
          "The saved session has more tokens than the context.",
          "Raise --context up to what the model allows (curta plan FILE shows it)."
        )
      case .badMagic:
        ("This is not a saved session.", "Check the path: curta run --save-session writes them.")
      case .badVersion: (text.sentence, "Use the version of curta that saved the session.")
      default: ("The saved session is damaged.", "Go on without it, or from an older one.")
      }
    return "\(path): \(sentence) (\(text.name), byte \(grouped(error.offset))) \(advice)"
  }

  /// The exit status of the command that met this status.
  static func exitCode(_ status: Status) -> Exit {
    switch status {
    case .ok: .done
    case .badVersion, .unknown, .unsupported, .codecMissing: .unsupported
    case .arenaTooSmall: .memory
    case .badArgument, .contextFull, .unaligned, .outputTooSmall: .failed
    default: .badFile
    }
  }

  /// Name of a section kind, as in `Formats/registry.tsv`.
  static func section(_ kind: UInt32) -> String {
    switch kind {
    case 0: "header"
    case SectionKind.metadata: "metadata"
    case SectionKind.tokenizer: "tokenizer"
    case SectionKind.tensors: "tensors"
    case SectionKind.program: "program"
    case SectionKind.data: "data"
    case 6: "signature"
    default: "section \(kind)"
    }
  }
}
