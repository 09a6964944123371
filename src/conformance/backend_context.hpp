#pragma once
// What a row about result backends works with: connections, ids of its own, and waiting with a limit.

#include "conformance/require.hpp"

#include <errand/conformance.hpp>

namespace errand::conformance {

class BackendContext {
 public:
  BackendContext(const BackendUnderTest& subject, ResultBackend& backend, Milliseconds patience)
      : subject_(subject), backend_(backend), traits_(backend.traits()), patience_(patience) {}
  ~BackendContext();
  BackendContext(const BackendContext&) = delete;
  BackendContext& operator=(const BackendContext&) = delete;

  ResultBackend& backend() noexcept { return backend_; }
  const BackendTraits& traits() const noexcept { return traits_; }
  std::unique_ptr<ResultBackend> another() const { return subject_.open(); }

  /// A random id whose record is forgotten when the row has ended.
  TaskId fresh_id();
  /// A random group id. Stores let groups and chords expire.
  static std::string fresh_group();

  /// A record in this state; ready ones are done now.
  static TaskResult record(TaskId id, std::string_view state, std::string result_json = "null",
                           std::uint64_t token = 0);
  void put(const TaskResult& result) { backend_.put(std::span(&result, 1)); }
  /// The stored record; fails the row when there is none.
  TaskResult stored(TaskIdView id);

  Deadline soon() const noexcept { return Deadline::after(patience_); }
  void note(std::string text) { note_ = std::move(text); }
  const std::string& noted() const noexcept { return note_; }

 private:
  const BackendUnderTest& subject_;
  ResultBackend& backend_;
  BackendTraits traits_;
  Milliseconds patience_;
  std::vector<TaskId> ids_;
  std::string note_;
};

}  // namespace errand::conformance
