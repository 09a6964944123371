#pragma once
// Opens brokers and result backends by URL: sqlite:///errand.db, redis://, rediss://, redis+socket://,
// memory://name. The list of known schemes is in src/drivers.cpp.

#include <errand/broker.hpp>
#include <errand/result_backend.hpp>
#include <errand/signing.hpp>

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace errand {

/// Options of a connection beyond its URL (Celery's broker_transport_options); unknown keys throw Error{invalid}.
struct TransportOptions {
  std::string key_prefix{};                    ///< global_keyprefix
  Milliseconds visibility_timeout{3'600'000};  ///< as Python peers of the same Redis use it
  Milliseconds publish_timeout{5'000};         ///< a publish fails typed within this
  Milliseconds connect_timeout{5'000};
  std::vector<int> priority_steps{0, 3, 6, 9};
  std::size_t max_message_bytes = 16u << 20;   ///< refused before any byte is sent
  Milliseconds result_expires{86'400'000};     ///< 0: never
  Milliseconds revoke_expires{2'592'000'000};  ///< how long the broker remembers a revoked id
  std::size_t max_dead_letters = 100'000;      ///< per queue; beyond it messages wait in their queue instead
  SigningOptions signing{};                    ///< of every message sent, and of those taken
};

/// Throws Error{invalid} for an unknown scheme or a malformed URL, naming the nearest known scheme. Connects on
/// first use, not here. Keys of options.signing are read here, so that a wrong one is found at the start:
/// Error{invalid} or {denied} naming the file.
std::unique_ptr<Broker> open_broker(std::string_view url, const TransportOptions& options = {});
std::unique_ptr<ResultBackend> open_result_backend(std::string_view url, const TransportOptions& options = {});

/// The URL without its password, for logs and errors.
std::string redact_url(std::string_view url);

}  // namespace errand
