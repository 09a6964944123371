#pragma once
// Redis URLs as Celery writes them: redis://[user:password@]host:port/db, rediss://...?ssl_cert_reqs=required,
// redis+socket:///path?virtual_host=db (kombu/transport/redis.py, kombu/utils/url.py).

#include "net/stream.hpp"

namespace errand::redis {

struct Url {
  net::Address address;
  std::string user;      ///< "": the default user
  std::string password;  ///< "": none
  int database = 0;
  /// Same server and database, whoever logs in.
  bool same_store(const Url& other) const noexcept { return address == other.address && database == other.database; }
};

/// Throws Error{invalid} naming what is wrong, without the password.
Url parse_url(std::string_view url);

}  // namespace errand::redis
