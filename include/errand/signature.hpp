#pragma once
// Signature: one call of one task, as a value: what to run, with which arguments and options. Nothing is
// sent until a Client sends it.
//
//   Signature s = thumbnail("cat.png", 200).on("media").expires(60s);
//   Signature by_name{"media.thumbnail", {"cat.png"}, {{"width", 200}}};

#include <errand/message.hpp>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace errand {

/// Options of one call; Celery's apply_async names. Unset: the task's own, then the configuration's.
struct CallOptions {
  std::string task_id{};   ///< "": a new UUID4
  std::string queue{};     ///< wins over routes
  std::string exchange{};  ///< with routing_key, instead of queue
  std::string routing_key{};
  std::optional<int> priority{};                  ///< 0 to 9
  std::optional<TimePoint> eta{};                 ///< not before
  std::optional<Milliseconds> countdown{};        ///< eta = sending time + countdown
  std::optional<TimePoint> expires{};             ///< do not start after
  std::optional<Milliseconds> expires_in{};       ///< expires = sending time + this
  std::optional<Milliseconds> time_limit{};       ///< hard: the process is killed
  std::optional<Milliseconds> soft_time_limit{};  ///< soft: the task is asked to stop
  std::optional<bool> ignore_result{};
  std::string compression{};  ///< gzip | zlib | bzip2 | lzma | zstd | brotli
  std::string shadow{};       ///< name shown in logs instead of the task's
  std::string group_id{};
  std::optional<std::int64_t> group_index{};
  std::string root_id{};
  std::string parent_id{};
  std::string reply_to{};
  std::uint32_t retries = 0;
  Object headers{};  ///< custom headers; survive retries; the task reads them in its context
};

/// A value. Building one never touches a broker.
class Signature {
 public:
  Signature() = default;
  explicit Signature(std::string task_name, Array arguments = {}, Object keywords = {})
      : task(std::move(task_name)), args(std::move(arguments)), kwargs(std::move(keywords)) {}

  std::string task;
  Array args;
  Object kwargs;
  CallOptions options;
  bool immutable = false;                  ///< as a callback: takes no result of the task before it
  bool queue_required = false;             ///< the task has no queue of its own: sending without one is refused
  std::vector<Signature> link;             ///< run with the result prepended, on success
  std::vector<Signature> link_error;       ///< run with the failed id prepended, on final failure
  std::vector<Signature> chain;            ///< the steps after this one, in execution order
  std::vector<std::size_t> secret_args;    ///< positions masked in argsrepr and logs
  std::vector<std::string> secret_kwargs;  ///< names masked in kwargsrepr and logs

  // Each returns the changed signature, so that calls read as one sentence.
  Signature on(std::string queue) &&;
  Signature on(std::string queue) const&;
  Signature with_id(TaskId id) &&;
  Signature priority(int value) &&;
  Signature countdown(Milliseconds wait) &&;
  Signature eta(TimePoint when) &&;
  Signature expires(Milliseconds after_sending) &&;
  Signature expires_at(TimePoint when) &&;
  Signature time_limit(Milliseconds hard) &&;
  Signature soft_time_limit(Milliseconds soft) &&;
  Signature ignore_result(bool value = true) &&;
  Signature compressed(std::string method) &&;
  Signature header(std::string name, Value value) &&;
  Signature as_immutable() &&;        ///< as a chain step or callback: run with these arguments alone
  Signature then(Signature next) &&;  ///< appends a chain step: it gets this one's result as first argument
  Signature linked(Signature callback) &&;
  Signature on_error(Signature errback) &&;
};

}  // namespace errand
