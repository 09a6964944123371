#include "testing/trace.hpp"

#include <openssl/evp.h>

#include <array>
#include <cstdio>

namespace errand::testing {

struct Trace::Digest {
  Digest() : context(EVP_MD_CTX_new()) { EVP_DigestInit_ex(context, EVP_sha256(), nullptr); }
  ~Digest() { EVP_MD_CTX_free(context); }
  Digest(const Digest&) = delete;
  Digest& operator=(const Digest&) = delete;
  EVP_MD_CTX* context;
};

Trace::Trace() : digest_(std::make_unique<Digest>()) {}
Trace::~Trace() = default;

void Trace::add(std::chrono::nanoseconds at, std::string_view who, std::string_view what) {
  std::array<char, 40> stamp;
  const int length =
      std::snprintf(stamp.data(), stamp.size(), "%lld.%06lld ", static_cast<long long>(at.count() / 1'000'000'000),
                    static_cast<long long>(at.count() / 1'000 % 1'000'000));
  std::string line(stamp.data(), static_cast<std::size_t>(length));
  line.append(who).append(" ").append(what).append("\n");
  EVP_DigestUpdate(digest_->context, line.data(), line.size());
  line.pop_back();
  if (listener) listener(line);
  lines_ += 1;
  if (kept_.size() == kKept) kept_.pop_front();
  kept_.push_back(std::move(line));
}

std::string Trace::hash() const {
  constexpr std::string_view kHex = "0123456789abcdef";
  std::array<unsigned char, EVP_MAX_MD_SIZE> bytes{};
  unsigned int length = 0;
  EVP_MD_CTX* copy = EVP_MD_CTX_new();
  EVP_MD_CTX_copy_ex(copy, digest_->context);
  EVP_DigestFinal_ex(copy, bytes.data(), &length);
  EVP_MD_CTX_free(copy);
  std::string text;
  for (unsigned int i = 0; i < length; ++i) {
    text += kHex[bytes[i] >> 4];
    text += kHex[bytes[i] & 15];
  }
  return text;
}

}  // namespace errand::testing
