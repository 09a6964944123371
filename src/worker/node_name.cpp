#include "worker/node_name.hpp"

#include <unistd.h>
#include <array>

namespace errand::worker {

namespace {
std::string host_name() {
  std::array<char, 256> name{};
  if (gethostname(name.data(), name.size() - 1) != 0) return "localhost";
  return name.data();
}

std::string replace(std::string_view text, std::string_view name, std::string_view host) {
  const auto dot = host.find('.');
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%' || i + 1 == text.size()) {
      out += text[i];
      continue;
    }
    switch (text[++i]) {
      case 'h':
        out += host;
        break;
      case 'n':
        out += name;
        break;
      case 'd':
        out += dot == std::string_view::npos ? std::string_view{} : host.substr(dot + 1);
        break;
      case '%':
        out += '%';
        break;
      default:
        out += '%';
        out += text[i];
    }
  }
  return out;
}
}  // namespace

std::string expand_node_name(std::string_view given) {
  const std::string host = host_name();
  if (given.empty()) return "celery@" + host;
  const auto at = given.find('@');
  const std::string expanded = replace(given, given.substr(0, at), host);
  return expanded.find('@') == std::string::npos ? expanded + "@" + host : expanded;
}

std::string expand(std::string_view text, std::string_view node_name) {
  const auto at = node_name.find('@');
  const std::string_view host = at == std::string_view::npos ? std::string_view{} : node_name.substr(at + 1);
  return replace(text, node_name.substr(0, at), host);
}

}  // namespace errand::worker
