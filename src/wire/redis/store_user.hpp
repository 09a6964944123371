#pragma once
// A result backend on a Redis server, as a consumer of the same server sees it: enough to store results in the same
// atomic step as their acknowledgement.

#include "wire/redis/url.hpp"

#include <string>
#include <string_view>

namespace errand::redis {

class StoreUser {
 public:
  virtual ~StoreUser() = default;
  /// The server and database that hold the records.
  virtual const Url& store_url() const noexcept = 0;
  virtual std::string result_key(std::string_view task_id) const = 0;
  /// "86400"; "0": for ever.
  virtual std::string seconds_to_live() const = 0;
};

}  // namespace errand::redis
