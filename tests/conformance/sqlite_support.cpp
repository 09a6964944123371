#include "conformance/sqlite_support.hpp"

#include "wire/sqlite/database.hpp"

namespace errand::testing {

std::vector<std::string> drain(const std::string& url) {
  auto broker = open_broker(url);
  auto consumer = broker->consume(from_q("drain"));
  std::vector<std::string> ids;
  for (;;) {
    const auto got = consumer->next(100, Deadline::now());
    if (got.empty()) return ids;
    for (const Delivery& delivery : got) ids.push_back(id_of(delivery));
    ack_all(*consumer, got);
  }
}

std::string integrity(const Folder& folder) {
  sqlite::Database database(folder.file(), Milliseconds{5'000});
  auto query = database.query("PRAGMA integrity_check");
  return query.step() ? query.text(0) : "nothing";
}

}  // namespace errand::testing
