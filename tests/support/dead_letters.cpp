// Every dead letter of a queue as a line of JSON, original bytes in base64: what tests compare with what they sent.
//
//   dead_letters URL QUEUE
#include <errand/drivers.hpp>

#include "core/base64.hpp"

#include <cstdio>
#include <string>

using namespace errand;

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  constexpr std::size_t kPage = 500;
  const auto broker = open_broker(argv[1]);
  std::string after;
  for (;;) {
    const auto page = broker->dead_letters(argv[2], kPage, after);
    if (page.empty()) return 0;
    after = page.back().id;
    for (const DeadLetter& letter : page) {
      const Value line = Value::object({{"id", letter.id},
                                        {"reason", letter.reason},
                                        {"detail", letter.detail},
                                        {"task", letter.task},
                                        {"task_id", letter.task_id},
                                        {"deliveries", static_cast<std::int64_t>(letter.deliveries)},
                                        {"first_seen", letter.first_seen.time_since_epoch().count()},
                                        {"last_seen", letter.last_seen.time_since_epoch().count()},
                                        {"raw", core::base64_encode(letter.raw)}});
      std::puts(to_json(line).c_str());
    }
  }
}
