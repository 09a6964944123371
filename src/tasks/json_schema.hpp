#pragma once
// The subset of JSON Schema 2020-12 that codecs write and catalogues carry, as a check.

#include <errand/value.hpp>

#include <string_view>

namespace errand {

/// Throws Error{invalid} with the path, what was expected and what came. Keywords known: type, enum, anyOf, items,
/// prefixItems, minItems, properties, required, additionalProperties, minimum, maximum; others are annotations.
void check_json_schema(const Value& value, const Value& schema, std::string_view where);

}  // namespace errand
