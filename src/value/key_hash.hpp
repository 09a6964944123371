#pragma once
// The hash of object keys. Keys come from anybody who can write into a queue, and with a hash whose outcome is known
// beforehand a message of a few hundred kilobytes can make every key collide and hold a worker for minutes. So the
// hash is keyed: SipHash (Aumasson and Bernstein), as in Python's own dict, with a key drawn once per process.

#include <array>
#include <cstdint>
#include <string_view>

namespace errand::value {

using SipKey = std::array<std::uint64_t, 2>;

/// SipHash-c-d; 2-4 is the one with published test vectors, 1-3 the one dictionaries use.
template <int kCompress, int kFinish>
std::uint64_t siphash(std::string_view text, const SipKey& key) noexcept;

/// SipHash-1-3 under this process's key. Differs from run to run: never store or send it.
std::uint64_t key_hash(std::string_view key) noexcept;

}  // namespace errand::value
