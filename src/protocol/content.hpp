#pragma once
// Content types: which bodies Errand reads. JSON, and nothing else (celery-wire section 1.7, fault F116, GN-49).
//
// A pickle or YAML body can run code in its reader; it is refused by its label before a byte of it is looked at.

#include <errand/message.hpp>

#include <string_view>

namespace errand::protocol {

inline constexpr std::string_view kJsonContent = "application/json";

/// Throws DecodeFailure{CONTENT_DISALLOWED} unless the message says its body is JSON in UTF-8.
void require_json(const Message& message);

/// kombu's short name of a content type ("json", "pickle", "yaml", "msgpack", "text", "raw"), "" when unknown.
std::string_view serializer_name(std::string_view content_type) noexcept;

}  // namespace errand::protocol
