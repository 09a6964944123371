// How long reading and writing JSON takes on the path of every message: the envelope kombu puts on a Redis list
// (about 900 bytes), its body, and a result. Run it with
//
//   ./dev bench                                       or
//   cmake --preset release -DERRAND_BENCH=ON && cmake --build --preset release --target bench_json_bench
//   build/release/bench/json_bench
//
// Prints the best of several rounds: the machine's other work makes a round slower, never faster.
#include <errand/value.hpp>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>
#include <string_view>

namespace {

using Clock = std::chrono::steady_clock;

// As Celery 5.2 with kombu 5.2 writes it for add.apply_async((2, 3)).
constexpr std::string_view kEnvelope =
    R"j({"body": "W1syLCAzXSwge30sIHsiY2FsbGJhY2tzIjogbnVsbCwgImVycmJhY2tzIjogbnVsbCwgImNoYWluIjogbnVsbCwgImNob3JkIjogbnVs)j"
    R"j(bH1d", "content-encoding": "utf-8", "content-type": "application/json", "headers": {"lang": "py", "task": "proj.ad)j"
    R"j(d", "id": "11111111-2222-4333-8444-000000000001", "shadow": null, "eta": null, "expires": null, "group": null, "g)j"
    R"j(roup_index": null, "retries": 0, "timelimit": [null, null], "root_id": "11111111-2222-4333-8444-000000000001", "p)j"
    R"j(arent_id": null, "argsrepr": "(2, 3)", "kwargsrepr": "{}", "origin": "gen1649@vm", "ignore_result": false}, "prop)j"
    R"j(erties": {"correlation_id": "11111111-2222-4333-8444-000000000001", "reply_to": "a2da1365-a927-3b99-a53d-51cee27c)j"
    R"j(7b20", "delivery_mode": 2, "delivery_info": {"exchange": "", "routing_key": "celery"}, "priority": 0, "body_encod)j"
    R"j(ing": "base64", "delivery_tag": "a9f3cb3f-2a2b-47f7-b713-6484d19117aa"}})j";

constexpr std::string_view kBody =
    R"j([[2, 3], {}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}])j";

// Nanoseconds of one call, the best of seven rounds of about 30 ms.
template <class F>
double best_of_rounds(F&& call) {
  const auto timed = [&](int times) {
    const auto from = Clock::now();
    for (int i = 0; i < times; ++i) call();
    return std::chrono::duration<double, std::nano>(Clock::now() - from).count();
  };
  int times = 16;
  while (timed(times) < 30e6) times *= 2;
  double best = timed(times);
  for (int round = 0; round < 6; ++round) best = std::min(best, timed(times));
  return best / times;
}

std::size_t kept = 0;  // printed at the end, so that no call is without effect

void report(const char* what, std::size_t bytes, double nanoseconds) {
  std::printf("%-36s %9zu bytes %12.2f us %9.1f MB/s\n", what, bytes, nanoseconds / 1e3,
              static_cast<double>(bytes) / nanoseconds * 1e3);
}

void measure(const char* what, std::string_view text, const errand::JsonLimits& limits = {}) {
  using namespace errand;
  const std::string name(what);
  report((name + ", read").c_str(), text.size(),
         best_of_rounds([&] { kept += static_cast<std::size_t>(parse_json(text, limits).kind()); }));
  const Value value = parse_json(text, limits);
  std::string out;
  report((name + ", written").c_str(), text.size(), best_of_rounds([&] {
           out.clear();
           write_json(out, value);
           kept += out.size();
         }));
}

void measure_refused(const char* what, std::string_view text) {
  report(what, text.size(), best_of_rounds([&] {
           try {
             errand::parse_json(text);
           } catch (const std::exception&) {
             ++kept;
           }
         }));
}

}  // namespace

int main() {
  measure("envelope", kEnvelope);
  measure("body", kBody);
  std::string floats = "[0.1";
  std::string words = "[\"\"";
  std::string objects = "{\"\": 0";
  for (int i = 0; i < 10'000; ++i) {
    floats += ", " + std::to_string(i) + ".25";
    words += R"(, "gr\u00fc\u00dfe \ud83d\ude00 an alle")";
    objects += ", \"key" + std::to_string(i) + "\": " + std::to_string(i);
  }
  measure("10 000 floats", floats + "]");
  measure("10 000 texts with escapes", words + "]");
  measure("object of 10 000 keys", objects + "}");
  measure("text of 1 MiB", '"' + std::string(std::size_t{1} << 20, 'x') + '"');

  std::string keys = "{\"\": 0";
  for (int i = 0; i < 1'000'000; ++i) keys += ", \"" + std::to_string(i) + "\": 0";
  measure_refused("10^6 keys, refused", keys + "}");
  measure_refused("200 000 deep, refused", std::string(200'000, '['));
  std::printf("(%zu)\n", kept);
}
