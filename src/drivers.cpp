// The only file that names concrete drivers: URL scheme -> factory.
#include <errand/drivers.hpp>

#include "backends/memory/backend.hpp"
#include "backends/redis/backend.hpp"
#include "backends/sqlite/backend.hpp"
#include "brokers/memory/broker.hpp"
#include "brokers/redis/broker.hpp"
#include "brokers/sqlite/broker.hpp"
#include "core/log.hpp"
#include "core/text.hpp"
#include "signing/broker.hpp"

#include <errand/error.hpp>

#include <algorithm>
#include <array>

namespace errand {

namespace {

struct Driver {
  std::string_view scheme;
  std::unique_ptr<Broker> (*broker)(std::string_view url, const TransportOptions& options);
  std::unique_ptr<ResultBackend> (*backend)(std::string_view url, const TransportOptions& options);
};

constexpr std::array kDrivers{
    Driver{"sqlite", sqlite::make_broker, sqlite::make_result_backend},
    Driver{"db+sqlite", nullptr, sqlite::make_result_backend},
    Driver{"redis", redis::make_broker, redis::make_result_backend},
    Driver{"rediss", redis::make_broker, redis::make_result_backend},
    Driver{"redis+socket", redis::make_broker, redis::make_result_backend},
    Driver{"memory", memory::make_broker, memory::make_result_backend},
};

const Driver& driver_for(std::string_view url, bool broker) {
  const std::size_t colon = url.find("://");
  const std::string_view scheme = url.substr(0, colon == std::string_view::npos ? url.size() : colon);
  std::vector<std::string_view> known;
  std::string listed;
  for (const Driver& driver : kDrivers) {
    if ((broker ? driver.broker != nullptr : driver.backend != nullptr)) {
      if (colon != std::string_view::npos && driver.scheme == scheme) return driver;
      known.push_back(driver.scheme);
      listed += (listed.empty() ? "" : ", ") + std::string(driver.scheme) + "://";
    }
  }
  const std::string_view nearest = core::nearest_word(scheme, known);
  throw Error({.kind = ErrorKind::invalid,
               .operation = broker ? "broker" : "result_backend",
               .subject = redact_url(url),
               .detail = "expected a URL that starts with one of " + listed + ", got '" +
                         core::escape_controls(core::shorten(scheme, 40)) + "'" +
                         (nearest.empty() ? std::string() : "; did you mean " + std::string(nearest) + "://?")});
}

}  // namespace

std::unique_ptr<Broker> open_broker(std::string_view url, const TransportOptions& options) {
  return signing::with_signatures(driver_for(url, true).broker(url, options), options.signing);
}

std::unique_ptr<ResultBackend> open_result_backend(std::string_view url, const TransportOptions& options) {
  return driver_for(url, false).backend(url, options);
}

std::string redact_url(std::string_view url) { return log::redact(url); }

}  // namespace errand
