#pragma once
// Result records as Celery stores them (celery-wire section 5): one JSON object per task id.
//
// The result itself is carried as the JSON text it came in: a store never parses what a task returned.

#include <errand/result_backend.hpp>

#include <string>
#include <string_view>

namespace errand::protocol {

/// Largest record that is read.
inline constexpr std::size_t kMaxResultBytes = 64u << 20;

/// Appends the record with every field a Python reader expects; date_done with offset, as Celery >= 5.5 writes it.
void write_result(std::string& out, const TaskResult& result);
std::string encode_result(const TaskResult& result);

/// Throws DecodeFailure: UNDECODABLE, TOO_LARGE. A date_done without offset is UTC (Celery <= 5.4). Fields Errand
/// does not know are ignored. `token` is not part of the record and stays 0.
TaskResult read_result(std::string_view text);

/// Celery's result tuple of one task: [[id, null], null].
std::string result_tuple(TaskIdView id);
/// A saved group (GroupResult.save): {"result": [[gid, null], [[[id0, null], null], ...]]}.
std::string encode_group(GroupIdView group, std::span<const TaskId> members);
/// Member ids of a saved group, nested groups flattened. Throws DecodeFailure{UNDECODABLE}.
std::vector<TaskId> read_group(std::string_view text);

/// One element of a chord's sorted set: [1, "<id>", "<state>", <result>].
std::string encode_chord_part(const ChordPart& part);
/// Its parts again; `index` is the set's score and not inside. Throws DecodeFailure{UNDECODABLE}.
ChordPart read_chord_part(std::string_view text);

}  // namespace errand::protocol
