#include <errand/error.hpp>

namespace errand {

std::string_view to_string(ErrorKind kind) noexcept {
  switch (kind) {
    case ErrorKind::invalid:
      return "invalid";
    case ErrorKind::not_found:
      return "not found";
    case ErrorKind::conflict:
      return "conflict";
    case ErrorKind::denied:
      return "denied";
    case ErrorKind::unavailable:
      return "unavailable";
    case ErrorKind::overloaded:
      return "overloaded";
    case ErrorKind::in_doubt:
      return "in doubt";
    case ErrorKind::unsupported:
      return "unsupported";
    case ErrorKind::bug:
      return "bug";
  }
  return "unknown";
}

namespace {
std::string one_line(const Error::Fields& f) {
  std::string text = f.operation;
  if (!f.detail.empty()) text += ": " + f.detail;
  std::string aside = f.subject;
  if (!f.code.empty()) aside += (aside.empty() ? "code " : ", code ") + f.code;
  if (f.kind == ErrorKind::in_doubt) aside += aside.empty() ? "in doubt" : ", in doubt";
  if (!aside.empty()) text += " (" + aside + ")";
  return text;
}
}  // namespace

Error::Error(Fields fields) : std::runtime_error(one_line(fields)), fields_(std::move(fields)) {}

}  // namespace errand
