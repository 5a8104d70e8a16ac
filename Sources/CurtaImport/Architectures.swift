// The list of architectures; each is a file in Architectures/.
// SPDX-License-Identifier: Apache-2.0

enum Architectures {
  /// From what a checkpoint says about itself, and the tensors it has, to where everything is.
  typealias FolderPlanner =
    @Sendable (ConfigurationReader, TensorCatalog) throws(ImportError) -> DecoderPlan

  /// By the `model_type` of config.json.
  static let folder: [String: FolderPlanner] = [
    "llama": Llama.folder, "mistral": Llama.mistral, "qwen2": Qwen.qwen2, "qwen3": Qwen.qwen3,
    "gemma": Gemma.gemma, "gemma2": Gemma.gemma2, "gemma3_text": Gemma.gemma3Text,
    "gemma3": Gemma.gemma3, "gpt2": GPT2.folder, "mingpt": GPT2.minGPT,
    "gpt_neox": GPTNeoX.folder, "phi": Phi.folder, "phi3": Phi.phi3,
    "starcoder2": Starcoder2.folder,
  ]

  typealias GGUFPlanner =
    @Sendable (GGUFMetadata, TensorCatalog) throws(ImportError) -> DecoderPlan

  /// By the `general.architecture` of a GGUF file.
  static let gguf: [String: GGUFPlanner] = [
    "llama": Llama.gguf, "qwen2": Qwen.gguf2, "qwen3": Qwen.gguf3, "gemma": Gemma.gguf,
    "gemma2": Gemma.gguf2, "gemma3": Gemma.gguf3, "gpt2": GPT2.gguf, "gptneox": GPTNeoX.gguf,
    "phi2": Phi.gguf2, "phi3": Phi.gguf3, "starcoder2": Starcoder2.gguf,
  ]
}
