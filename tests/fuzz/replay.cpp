// Gives every file of a folder, and every file cut at a few places, to a fuzz target, where libFuzzer is not at hand.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

int main(int argc, char** argv) {
  std::size_t inputs = 0;
  const auto give = [&](const std::string& bytes) {
    LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
    ++inputs;
  };
  for (int i = 1; i < argc; ++i) {
    for (const auto& entry : std::filesystem::directory_iterator(argv[i])) {
      std::ifstream file(entry.path(), std::ios::binary);
      const std::string bytes{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
      give(bytes);
      constexpr std::size_t kCuts = 64;
      for (std::size_t cut = 0; cut < kCuts; ++cut) {
        give(bytes.substr(0, bytes.size() * cut / kCuts));
        std::string changed = bytes;
        if (!changed.empty()) changed[changed.size() * cut / kCuts] ^= static_cast<char>(1 << (cut % 8));
        give(changed);
      }
    }
  }
  std::printf("%zu inputs\n", inputs);
  return inputs > 0 ? 0 : 1;
}
