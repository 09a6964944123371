#include "wire/redis/errors.hpp"

#include "core/log.hpp"
#include "core/text.hpp"

#include <algorithm>
#include <array>

namespace errand::redis {

namespace {

struct Meaning {
  std::string_view code;
  ErrorKind kind;
  std::string_view advice;
};

constexpr std::string_view kLogin = "; check user and password of the URL";
constexpr std::string_view kGrant = "; grant it to this user (ACL SETUSER name +command ~key &channel)";

constexpr std::array kMeanings{
    Meaning{"NOAUTH", ErrorKind::denied, kLogin},
    Meaning{"WRONGPASS", ErrorKind::denied, kLogin},
    Meaning{"NOPERM", ErrorKind::denied, kGrant},
    Meaning{"DENIED", ErrorKind::denied, ""},  // protected mode; the server says itself what to do
    Meaning{"LOADING", ErrorKind::unavailable, ""},
    Meaning{"READONLY", ErrorKind::unavailable, "; this is a replica, expected the primary"},
    Meaning{"MASTERDOWN", ErrorKind::unavailable, ""},
    Meaning{"CLUSTERDOWN", ErrorKind::unavailable, ""},
    Meaning{"TRYAGAIN", ErrorKind::unavailable, ""},
    Meaning{"UNBLOCKED", ErrorKind::unavailable, ""},
    Meaning{"NOREPLICAS", ErrorKind::unavailable, ""},
    Meaning{"OOM", ErrorKind::overloaded, "; the server's maxmemory is reached, give it room or drain it"},
    Meaning{"MISCONF", ErrorKind::overloaded, "; the server cannot write its data to disk"},
    Meaning{"BUSY", ErrorKind::overloaded, ""},
    Meaning{"WRONGTYPE", ErrorKind::conflict, "; another program keeps something else under a key of that name"},
    Meaning{"MOVED", ErrorKind::unsupported, "; a Redis cluster, expected a single server"},
    Meaning{"CROSSSLOT", ErrorKind::unsupported, "; a Redis cluster, expected a single server"},
};

// Redis before 7 wraps what a command inside a script answered: "ERR Error running script ...: -OOM command not ...".
const Meaning* meaning_of(std::string_view text) {
  const std::string_view first = text.substr(0, text.find(' '));
  for (const Meaning& one : kMeanings) {
    if (first == one.code) return &one;
  }
  for (const Meaning& one : kMeanings) {
    const std::string wrapped = "-" + std::string(one.code) + " ";
    if (text.find(wrapped) != std::string_view::npos) return &one;
  }
  static constexpr Meaning kAcl{"NOPERM", ErrorKind::denied, kGrant};
  for (const std::string_view phrase : {"ACL failure", "can't run this command", "can't access at least one"}) {
    if (text.find(phrase) != std::string_view::npos) return &kAcl;
  }
  static constexpr Meaning kPassword{"WRONGPASS", ErrorKind::denied, kLogin};
  for (const std::string_view phrase : {"invalid password", "invalid username-password", "without any password"}) {
    if (text.find(phrase) != std::string_view::npos) return &kPassword;
  }
  static constexpr Meaning kFull{"MAXCLIENTS", ErrorKind::overloaded, "; raise the server's maxclients"};
  if (text.find("max number of clients") != std::string_view::npos) return &kFull;
  return nullptr;
}

}  // namespace

Error error_of(const Reply& reply, std::string_view operation) {
  constexpr std::size_t kMostDetail = 500;
  const Meaning* meaning = meaning_of(reply.text);
  std::string detail = log::redact(core::escape_controls(core::shorten(reply.text, kMostDetail)));
  if (meaning != nullptr) detail += meaning->advice;
  return Error({.kind = meaning != nullptr ? meaning->kind : ErrorKind::invalid,
                .operation = std::string(operation),
                .detail = std::move(detail),
                .code = meaning != nullptr ? std::string(meaning->code) : reply.text.substr(0, reply.text.find(' '))});
}

void require(const Reply& reply, std::string_view operation) {
  if (reply.is_error()) throw error_of(reply, operation);
}

void require_all(std::span<const Reply> replies, std::string_view operation) {
  for (const Reply& reply : replies) {
    // Inside MULTI the first refusal says why; EXECABORT only that there was one.
    require(reply, operation);
    if (reply.is_array()) {
      for (const Reply& element : reply.elements) require(element, operation);
    }
  }
}

}  // namespace errand::redis
