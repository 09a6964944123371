#pragma once
// The subset of JSON Schema 2020-12 that codecs write and catalogues carry, as a check.

#include <errand/value.hpp>

#include <string>
#include <string_view>

namespace errand {

/// Throws Error{invalid} with the path, what was expected and what came. Keywords known: type, enum, anyOf, items,
/// prefixItems, minItems, maxItems, properties, required, additionalProperties, minimum, maximum, contentEncoding,
/// format date-time; others are annotations.
void check_json_schema(const Value& value, const Value& schema, std::string_view where);

/// The words that errors use for it: "list of text". What Codec<T>::words() says for Codec<T>::schema().
std::string schema_words(const Value& schema);

}  // namespace errand
