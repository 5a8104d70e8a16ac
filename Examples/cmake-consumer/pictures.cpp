// The C interface from C++: what a .curta vision model sees in raw pixels from the standard input.
// usage: pictures MODEL.curta WIDTH HEIGHT < PIXELS
// PIXELS are rows of red, green and blue bytes from the top down, as cameras give them; any number
// of pictures one behind the other. For each one line: the likeliest label and its score.
// SPDX-License-Identifier: Apache-2.0

#include <curta.h>

#ifdef WITH_ZSTD
#include <zstd.h>
#endif

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

void check(curta_status status, const char *what) {
  if (status != CURTA_OK)
    throw std::runtime_error(std::string(what) + ": status " + std::to_string(status));
}

/// Memory aligned to 64 bytes.
struct Free {
  void operator()(void *memory) const { std::free(memory); }
};
using Memory = std::unique_ptr<void, Free>;
Memory aligned(std::size_t size) {
  Memory memory(std::aligned_alloc(64, (size + 63) / 64 * 64));
  if (!memory)
    throw std::bad_alloc();
  return memory;
}

/// A model of images: the file, the arena, and the session that lives in it.
class Model {
public:
  explicit Model(const std::string &path) {
    std::ifstream stream(path, std::ios::binary);
    const std::vector<char> bytes{std::istreambuf_iterator<char>(stream), {}};
    if (!stream)
      throw std::runtime_error("no file " + path);
    file = aligned(bytes.size());
    std::copy(bytes.begin(), bytes.end(), static_cast<char *>(file.get()));

    curta_options options = curta_default_options();
#ifdef WITH_ZSTD
    options.zstd = [](void *, const void *source, std::size_t source_size, void *target,
                      std::size_t target_size) -> std::int32_t {
      return ZSTD_findFrameCompressedSize(source, source_size) != source_size ||
             ZSTD_decompress(target, target_size, source, source_size) != target_size;
    };
#endif
    curta_plan_info plan{};
    plan.struct_size = sizeof plan;
    check(curta_plan(file.get(), bytes.size(), &options, &plan), "plan");
    arena = aligned(plan.arena_bytes);
    check(curta_session_init(file.get(), bytes.size(), &options, arena.get(), plan.arena_bytes,
                             &session),
          "session");
    labels = plan.vocabulary;
  }

  /// The scores of all labels, in units of 2^-16; they stay until the next call.
  const std::int32_t *scores(const std::vector<std::uint8_t> &pixels, std::size_t width,
                             std::size_t height) {
    check(curta_set_image(session, 0, pixels.data(), width, height, 3, 0), "image");
    check(curta_step_images(session, 1), "step");
    return curta_logits(session, 0);
  }

  std::size_t labels = 0;

private:
  Memory file, arena;
  curta_session *session = nullptr;
};

} // namespace

int main(int argc, char **argv) try {
  if (argc != 4) {
    std::cerr << "usage: pictures MODEL.curta WIDTH HEIGHT < PIXELS\n";
    return 64;
  }
  Model model(argv[1]);
  const std::size_t width = std::stoul(argv[2]), height = std::stoul(argv[3]);
  std::vector<std::uint8_t> pixels(3 * width * height);
  while (std::cin.read(reinterpret_cast<char *>(pixels.data()),
                       static_cast<std::streamsize>(pixels.size()))) {
    const auto *scores = model.scores(pixels, width, height);
    const auto *best = std::max_element(scores, scores + model.labels);
    std::cout << best - scores << '\t' << *best << '\n';
  }
  return 0;
} catch (const std::exception &error) {
  std::cerr << "error: " << error.what() << '\n';
  return 1;
}
