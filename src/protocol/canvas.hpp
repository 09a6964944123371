#pragma once
// Canvas on Values: giving ids to containers and taking them apart (celery-wire section 6.1, 6.3, 6.4).

#include <errand/value.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace errand::protocol::canvas {

enum class Kind { task, chain, group, chord, chunks };

/// By subtask_type, else by the names celery.chain, celery.group, celery.chord, celery.chunks.
Kind kind_of(const Value& signature) noexcept;

/// Member of `options`; nullptr when unset or null.
const Value* option(const Value& signature, std::string_view name) noexcept;
std::string text_option(const Value& signature, std::string_view name);
void set_option(Value& signature, std::string_view name, Value value);
/// Appends to a list option; a single signature there becomes a list first, as in Python.
void extend_option(Value& signature, std::string_view name, const Value& signatures);
/// link and link_error may be null, one signature or a list of them.
Array signature_list(const Value* option);
/// Throws DecodeFailure{BAD_BODY} unless it is an object with a task name.
void require_signature(const Value& signature);
bool immutable(const Value& signature) noexcept;

/// kwargs.tasks of a chain or group, kwargs.header of a chord (array or group signature). Throws DecodeFailure.
Array members(const Value& signature);

/// What an enclosing group or chord adds to whatever ends inside it.
struct Membership {
  std::string group;
  std::optional<std::int64_t> index;
  const Value* chord = nullptr;
};
using NewId = std::function<std::string()>;

/// A chain's steps in the order they run, nested chains spliced, groups of one unrolled, a group followed by a step
/// made a chord with that step as body; each frozen. `id` and `membership` go to the last one; `link_error` to all.
std::vector<Value> chain_steps(Array tasks, const std::string& id, const Membership& membership,
                               const Array& link_error, const NewId& new_id);
/// A group's members with nested groups flattened, not frozen yet.
std::vector<Value> group_members(const Value& group);

/// Gives ids that are missing: a task its own, a chain its last step's, a chord its body's, group members theirs and
/// their index. Ids that are there stay.
void freeze(Value& signature, const std::string& id, const Membership& membership, const NewId& new_id);

/// How many results a chord waits for: a chain counts as its last step, a chord as its body.
std::size_t chord_size(const std::vector<Value>& members);

}  // namespace errand::protocol::canvas
