// Any headers (JSON up to the first line end) and any body: a task whose parts can be read and whose follow-ups can be
// built, or a DecodeFailure at any of these steps.

#include "protocol/task_message.hpp"
#include "protocol/body.hpp"
#include "protocol/decode_failure.hpp"
#include "protocol/follow_ups.hpp"
#include "protocol/saferepr.hpp"
#include "protocol/signature_json.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

using namespace errand;
using namespace errand::protocol;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const std::size_t end = text.find('\n');
  if (end == std::string_view::npos) return 0;
  Message message;
  try {
    Value headers = parse_json(text.substr(0, end));
    if (!headers.is_object()) return 0;
    message.headers = headers.as_object();
  } catch (const Error&) {
    return 0;
  }
  message.body = text.substr(end + 1);
  try {
    const TaskMessage task = decode_task(message);
    retry_of(message, task.retries + 1, task.eta);
    const Body body(message);
    args_repr(body.args());
    kwargs_repr(body.kwargs());
    const Embed embed = body.embed();
    for (const Value& step : embed.chain) signature_from_json(step);
    const FollowUpOptions options{.now = TimePoint{}, .origin = "gen1@host"};
    after_success(task, embed, "5", options);
    after_failure(task, embed, options);
    waiting_steps(embed);
    if (!embed.chord.is_null()) {
      const std::string results[] = {"1", "2"};
      chord_body(task, embed.chord, results, options);
      chord_failed(task, embed.chord, task.id, {"ValueError", "builtins", {}}, options);
    }
  } catch (const DecodeFailure&) {
  }
  return 0;
}
