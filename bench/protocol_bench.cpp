// How many messages per second one core encodes and decodes: what a broker driver and a worker pay per task before
// anything runs. Prints one line per step.
//
//   cmake --preset release -DERRAND_BENCH=ON && cmake --build --preset release --target bench_protocol_bench
//   build/release/bench/protocol_bench

#include "protocol/body.hpp"
#include "protocol/envelope.hpp"
#include "protocol/follow_ups.hpp"
#include "protocol/header_fields.hpp"
#include "protocol/result_json.hpp"
#include "protocol/signature_json.hpp"
#include "protocol/task_message.hpp"

#include <chrono>
#include <cstddef>
#include <cstdio>
#include <string>

using namespace errand;
using namespace errand::protocol;

namespace {

std::size_t sink = 0;  // keeps results alive

template <class F>
void measure(const char* name, F&& step) {
  using Clock = std::chrono::steady_clock;
  constexpr std::size_t kBatch = 1000;
  std::size_t done = 0;
  const auto begin = Clock::now();
  while (Clock::now() - begin < std::chrono::milliseconds{500}) {
    for (std::size_t i = 0; i < kBatch; ++i) sink += step();
    done += kBatch;
  }
  const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  std::printf("%-28s %10.0f /s\n", name, static_cast<double>(done) / seconds);
}

}  // namespace

int main() {
  const SenderInfo sender{
      .now = TimePoint{std::chrono::seconds{1'800'000'000}}, .origin = "gen1@host", .reply_to = "reply"};
  Signature call("media.thumbnail", {"cat.png", 200}, {{"format", "webp"}});
  freeze(call);
  const Message message = encode_task(call, sender);
  const std::string envelope =
      encode_envelope({.route = {"", "media"}, .message = message}, "3fde1299-1e4e-45b9-a75a-4daae6fb76ef");
  const TaskResult result{
      .id = call.options.task_id, .state = "SUCCESS", .result_json = "123456", .done_at = sender.now};
  const std::string record = encode_result(result);
  Embed embed;
  embed.callbacks = {signature_to_json(Signature("media.publish"))};
  const TaskMessage task = decode_task(message);
  const FollowUpOptions options{.now = sender.now, .origin = sender.origin};

  std::printf("envelope of %zu bytes\n", envelope.size());
  measure("encode task", [&] { return encode_task(call, sender).body.size(); });
  measure("write envelope",
          [&] { return encode_envelope({.route = {"", "media"}, .message = message}, "tag").size(); });
  measure("read envelope", [&] { return read_envelope(envelope).message.body.size(); });
  measure("decode task headers", [&] { return decode_task(message).id.size(); });
  measure("slice and parse args", [&] { return Body(message).args().size(); });
  measure("retry copy", [&] { return retry_of(message, 1, sender.now).headers.size(); });
  measure("one callback", [&] { return after_success(task, embed, "5", options).envelopes.size(); });
  measure("write result", [&] { return encode_result(result).size(); });
  measure("read result", [&] { return read_result(record).id.size(); });
  return sink == 0 ? 1 : 0;
}
