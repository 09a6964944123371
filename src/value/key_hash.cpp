#include "value/key_hash.hpp"

#include "core/uuid.hpp"

#include <bit>
#include <cstddef>

namespace errand::value {

namespace {

// Little endian on every machine, as the published vectors want it; compilers make one load of it.
std::uint64_t load(const char* from, std::size_t bytes) noexcept {
  std::uint64_t word = 0;
  for (std::size_t i = 0; i < bytes; ++i) {
    word |= static_cast<std::uint64_t>(static_cast<unsigned char>(from[i])) << (8 * i);
  }
  return word;
}

}  // namespace

template <int kCompress, int kFinish>
std::uint64_t siphash(std::string_view text, const SipKey& key) noexcept {
  std::uint64_t v0 = key[0] ^ 0x736f6d6570736575;
  std::uint64_t v1 = key[1] ^ 0x646f72616e646f6d;
  std::uint64_t v2 = key[0] ^ 0x6c7967656e657261;
  std::uint64_t v3 = key[1] ^ 0x7465646279746573;
  const auto round = [&] {
    v0 += v1;
    v2 += v3;
    v1 = std::rotl(v1, 13) ^ v0;
    v3 = std::rotl(v3, 16) ^ v2;
    v0 = std::rotl(v0, 32);
    v2 += v1;
    v0 += v3;
    v1 = std::rotl(v1, 17) ^ v2;
    v3 = std::rotl(v3, 21) ^ v0;
    v2 = std::rotl(v2, 32);
  };
  const auto absorb = [&](std::uint64_t word) {
    v3 ^= word;
    for (int i = 0; i < kCompress; ++i) round();
    v0 ^= word;
  };
  const char* at = text.data();
  const std::size_t rest = text.size() % 8;
  for (const char* const end = at + (text.size() - rest); at != end; at += 8) absorb(load(at, 8));
  absorb(static_cast<std::uint64_t>(text.size()) << 56 | load(at, rest));
  v2 ^= 0xff;
  for (int i = 0; i < kFinish; ++i) round();
  return v0 ^ v1 ^ v2 ^ v3;
}

template std::uint64_t siphash<1, 3>(std::string_view, const SipKey&) noexcept;
template std::uint64_t siphash<2, 4>(std::string_view, const SipKey&) noexcept;

std::uint64_t key_hash(std::string_view key) noexcept {
  static const SipKey process_key{core::random_bits(), core::random_bits()};
  return siphash<1, 3>(key, process_key);
}

}  // namespace errand::value
