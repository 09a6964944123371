#include "protocol/decode_failure.hpp"

#include <utility>

namespace errand::protocol {

DecodeFailure::DecodeFailure(std::string_view reason, std::string subject, std::string detail)
    : Error({.kind = ErrorKind::invalid,
             .operation = "protocol.decode",
             .subject = std::move(subject),
             .detail = std::move(detail),
             .code = std::string(reason)}),
      reason_(reason) {}

std::string DecodeFailure::line() const { return subject().empty() ? detail() : subject() + ": " + detail(); }

std::string printable(std::string_view text, std::size_t limit) {
  constexpr std::string_view kHex = "0123456789abcdef";
  const bool cut = text.size() > limit;
  std::string out;
  for (const char c : text.substr(0, limit)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte >= 0x7f) {
      out += "\\x";
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
    } else {
      out += c;
    }
  }
  if (cut) out += "...";
  return out;
}

}  // namespace errand::protocol
