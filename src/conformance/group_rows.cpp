// Groups, and chords whose body is sent exactly once.
#include "conformance/backend_context.hpp"
#include "conformance/tables.hpp"

#include "core/uuid.hpp"

#include <atomic>

namespace errand::conformance {

namespace {

ChordPart part(std::int64_t index, std::string_view state = state::success) {
  return ChordPart{.id = "member-" + std::to_string(index),
                   .state = std::string(state),
                   .result_json = std::to_string(index * 10),
                   .index = index};
}

void groups(BackendContext& c) {
  const std::string group = c.fresh_group();
  require(!c.backend().get_group(group).has_value(), "a group that nobody saved is not there");
  std::vector<TaskId> members;
  for (int i = 0; i < 50; ++i) members.push_back(core::uuid4());
  c.backend().put_group(group, members);
  const auto got = c.another()->get_group(group);
  require(got.has_value() && *got == members, "the members come back in their order");
}

void complete(BackendContext& c) {
  const std::string group = c.fresh_group();
  c.backend().set_chord_size(group, 3);
  require(!c.backend().chord_part_done(group, part(2)).complete, "one of three does not complete it");
  require(!c.another()->chord_part_done(group, part(0)).complete, "two of three do not complete it");
  const ChordProgress last = c.backend().chord_part_done(group, part(1));
  require(last.complete, "the last completes it");
  require_equal(3, last.results.size(), "every member's result is there");
  for (std::size_t i = 0; i < 3; ++i)
    require_equal(std::to_string(i * 10), last.results[i], "results stand in the order of the group");
  require_equal("", last.failed_member, "none has failed");
}

void twice_counted_once(BackendContext& c) {
  const std::string group = c.fresh_group();
  c.backend().set_chord_size(group, 2);
  require(!c.backend().chord_part_done(group, part(0)).complete, "one of two does not complete it");
  require(!c.backend().chord_part_done(group, part(0)).complete, "a member that is delivered twice counts once");
  require(c.backend().chord_part_done(group, part(1)).complete, "the other completes it");
  require(!c.backend().chord_part_done(group, part(0)).complete, "another member delivered again does not complete it");
}

void told_again(BackendContext& c) {
  const std::string group = c.fresh_group();
  c.backend().set_chord_size(group, 2);
  require(!c.backend().chord_part_done(group, part(1)).complete, "one of two does not complete it");
  const ChordProgress first = c.backend().chord_part_done(group, part(0));
  require(first.complete, "the other completes it");
  const ChordProgress again = c.another()->chord_part_done(group, part(0));
  require(again.complete, "the member that completed it is told so again");
  require(again.results == first.results, "with the same results");
}

void failure(BackendContext& c) {
  const std::string group = c.fresh_group();
  c.backend().set_chord_size(group, 2);
  ChordPart failed = part(0, state::failure);
  failed.result_json = R"({"exc_type": "ValueError", "exc_message": ["no"], "exc_module": "builtins"})";
  require(!c.backend().chord_part_done(group, failed).complete, "the failure of one does not complete it alone");
  const ChordProgress last = c.backend().chord_part_done(group, part(1));
  require(last.complete, "the last completes it");
  require_equal(failed.id, last.failed_member, "it names the member that failed");
  require(parse_json(last.failure_json) == parse_json(failed.result_json), "it has that member's exception");
}

void exactly_one(BackendContext& c) {
  constexpr int kRounds = 10;
  constexpr std::size_t kCallers = 8;
  for (int round = 0; round < kRounds; ++round) {
    const std::string group = c.fresh_group();
    c.backend().set_chord_size(group, kCallers);
    std::atomic<std::size_t> completed{0};
    std::vector<std::function<void()>> jobs;
    for (std::size_t i = 0; i < kCallers; ++i) {
      jobs.emplace_back([&, i] {
        auto backend = c.another();
        const bool first = backend->chord_part_done(group, part(static_cast<std::int64_t>(i))).complete;
        const bool again = backend->chord_part_done(group, part(static_cast<std::int64_t>(i))).complete;
        if (first || again) completed += 1;
      });
    }
    at_once(jobs);
    require_equal(1, completed, "exactly one of many members that end at the same time completes it");
  }
}

bool chords(const BackendTraits& traits) { return traits.chords; }

constexpr BackendCheck kRows[] = {
    {"group.save", "a saved group has its members in their order", nullptr, groups},
    {"chord.complete", "the last member completes a chord and gets every result in order", chords, complete},
    {"chord.once", "a member delivered twice counts once", chords, twice_counted_once},
    {"chord.told-again", "the member that completed a chord is told so again, in case its worker died", chords,
     told_again},
    {"chord.failure", "a chord with a failed member tells which and why", chords, failure},
    {"chord.exactly-one", "a chord is complete for exactly one of many members that end at the same time", chords,
     exactly_one},
};

}  // namespace

std::span<const BackendCheck> group_rows() { return kRows; }

}  // namespace errand::conformance
