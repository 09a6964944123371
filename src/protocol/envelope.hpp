#pragma once
// The envelope of kombu's virtual transports: one JSON object that holds a whole message (celery-wire section 2.1).
//
// This is what lies in Redis lists, in `unacked` and on pub/sub channels, and what Python reads and writes beside
// us. Writing appends to one string; reading slices the object and decodes the body's base64 in place.

#include <errand/message.hpp>

#include <string>
#include <string_view>

namespace errand::protocol {

/// Largest envelope that is read: a body of 16 MiB in base64, and headers.
inline constexpr std::size_t kMaxEnvelopeBytes = 24u << 20;

/// What an envelope holds.
struct StoredMessage {
  Message message;           ///< properties without delivery_info, delivery_tag and body_encoding
  Route route;               ///< delivery_info, as the sender gave it
  int priority = 0;          ///< properties.priority brought into 0 to 9
  std::string delivery_tag;  ///< "": the sender left it out
  bool redelivered = false;  ///< somebody put it back
};

/// Appends the envelope. `delivery_tag` must be unique: it is the key under which the message is held while it is
/// handed out. `delivery_info` is always written, because a Python worker without it dies and loses the message.
void write_envelope(std::string& out, const Message& message, const Route& route, int priority,
                    std::string_view delivery_tag, bool redelivered = false);
std::string encode_envelope(const Envelope& envelope, std::string_view delivery_tag);

/// Throws DecodeFailure{UNDECODABLE} naming what is missing or wrong (faults F108 to F111), {TOO_LARGE} at a limit,
/// and nothing else.
StoredMessage read_envelope(std::string_view text);

/// One value of the hash `unacked`: [envelope, "exchange", "routing_key"].
struct Unacked {
  std::string_view envelope;  ///< the envelope's bytes inside the text that was read
  Route route;
};
void write_unacked(std::string& out, std::string_view envelope, const Route& route);
/// Throws DecodeFailure{UNDECODABLE}. The text must outlive what it returns.
Unacked read_unacked(std::string_view text);

}  // namespace errand::protocol
