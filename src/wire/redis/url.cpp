#include "wire/redis/url.hpp"

#include "core/text.hpp"

#include <errand/error.hpp>

#include <map>

namespace errand::redis {

namespace {

[[noreturn]] void refuse(std::string_view subject, std::string detail, ErrorKind kind = ErrorKind::invalid) {
  throw Error({.kind = kind, .operation = "redis.url", .subject = std::string(subject), .detail = std::move(detail)});
}

int hex(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::string percent_decoded(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size() && hex(text[i + 1]) >= 0 && hex(text[i + 2]) >= 0) {
      out += static_cast<char>(hex(text[i + 1]) * 16 + hex(text[i + 2]));
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

int database_of(std::string_view text) {
  if (text.empty()) return 0;
  const auto number = core::parse_number(text, 1'000'000);
  if (!number) refuse(text, "expected a database number in the path, got '" + core::escape_controls(text) + "'");
  return static_cast<int>(*number);
}

void read_tls(net::TlsOptions& tls, const std::map<std::string, std::string, std::less<>>& query) {
  const auto value = [&](std::string_view key) {
    const auto found = query.find(key);
    return found == query.end() ? std::string() : found->second;
  };
  // Both spellings: kombu wants CERT_REQUIRED where redis-py wants required (AT-39).
  const std::string reqs = value("ssl_cert_reqs");
  if (reqs == "none" || reqs == "CERT_NONE")
    tls.verify = false;
  else if (!reqs.empty() && reqs != "required" && reqs != "CERT_REQUIRED" && reqs != "optional" &&
           reqs != "CERT_OPTIONAL") {
    refuse("ssl_cert_reqs", "expected required, optional or none, got '" + core::escape_controls(reqs) + "'");
  }
  const std::string names = value("ssl_check_hostname");
  if (names == "false" || names == "False" || names == "0")
    tls.check_host = false;
  else if (!names.empty() && names != "true" && names != "True" && names != "1") {
    refuse("ssl_check_hostname", "expected true or false, got '" + core::escape_controls(names) + "'");
  }
  tls.ca_file = value("ssl_ca_certs");
  tls.certificate_file = value("ssl_certfile");
  tls.key_file = value("ssl_keyfile");
}

}  // namespace

Url parse_url(std::string_view url) {
  Url parsed;
  if (url.find(';') != std::string_view::npos) {
    refuse("failover list", "expected one URL, got a list separated by ';'; failover lists are not supported",
           ErrorKind::unsupported);
  }
  const std::size_t scheme_end = url.find("://");
  const std::string_view scheme = url.substr(0, scheme_end);
  std::string_view rest = scheme_end == std::string_view::npos ? std::string_view{} : url.substr(scheme_end + 3);
  std::map<std::string, std::string, std::less<>> query;
  if (const std::size_t mark = rest.find('?'); mark != std::string_view::npos) {
    std::string_view pairs = rest.substr(mark + 1);
    rest = rest.substr(0, mark);
    while (!pairs.empty()) {
      const std::size_t end = std::min(pairs.find('&'), pairs.size());
      const std::string_view pair = pairs.substr(0, end);
      const std::size_t equals = std::min(pair.find('='), pair.size());
      query[percent_decoded(pair.substr(0, equals))] = percent_decoded(pair.substr(std::min(equals + 1, pair.size())));
      pairs.remove_prefix(std::min(end + 1, pairs.size()));
    }
  }
  parsed.address.tls.enabled = scheme == "rediss";
  if (parsed.address.tls.enabled) read_tls(parsed.address.tls, query);
  const std::size_t slash_before_at =
      scheme == "redis+socket" || scheme == "socket" ? std::string_view::npos : rest.find('/');
  const std::size_t at = rest.substr(0, slash_before_at).rfind('@');
  if (at != std::string_view::npos) {
    const std::string_view login = rest.substr(0, at);
    const std::size_t colon = login.find(':');
    parsed.user = percent_decoded(login.substr(0, colon));
    if (colon != std::string_view::npos) parsed.password = percent_decoded(login.substr(colon + 1));
    rest = rest.substr(at + 1);
  }
  if (scheme == "redis+socket" || scheme == "socket") {
    if (rest.empty() || rest.front() != '/') refuse(scheme, "expected redis+socket:///path/to/socket");
    parsed.address.unix_path = percent_decoded(rest);
    const auto host = query.find("virtual_host");
    if (host != query.end()) parsed.database = database_of(host->second);
    return parsed;
  }
  const std::size_t slash = std::min(rest.find('/'), rest.size());
  std::string_view host = rest.substr(0, slash);
  parsed.database = database_of(rest.substr(std::min(slash + 1, rest.size())));
  parsed.address.port = 6379;
  std::size_t colon = host.rfind(':');
  if (!host.empty() && host.front() == '[') {
    const std::size_t close = host.find(']');
    if (close == std::string_view::npos) refuse(host, "expected ']' after an IPv6 address");
    colon = host.find(':', close);
    parsed.address.host = std::string(host.substr(1, close - 1));
  } else if (!host.substr(0, colon).empty()) {
    parsed.address.host = percent_decoded(host.substr(0, colon));
  }
  if (colon != std::string_view::npos) {
    const auto port = core::parse_number(host.substr(colon + 1), 65'535);
    if (!port || *port == 0) refuse(host, "expected a port from 1 to 65535");
    parsed.address.port = static_cast<int>(*port);
  }
  return parsed;
}

}  // namespace errand::redis
