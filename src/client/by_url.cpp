// The one place of the client that needs the list of drivers; programs that bring their own connections do not link it.
#include "client/core.hpp"

namespace errand {

namespace client {
ClientConnections connections_by_url(const ClientOptions& options) {
  ClientConnections connections;
  connections.broker = [url = options.broker_url, transport = options.transport] {
    return open_broker(url, transport);
  };
  if (options.result_backend_url != "disabled") {
    const std::string& url = options.result_backend_url.empty() ? options.broker_url : options.result_backend_url;
    connections.results = [url, transport = options.transport] { return open_result_backend(url, transport); };
  }
  return connections;
}
}  // namespace client

// Opening connects to nothing, but it finds out early that a URL is wrong.
Client::Client(const ClientOptions& options) : Client(options, client::connections_by_url(options)) {
  static_cast<void>(open_broker(options.broker_url, options.transport));
  if (const auto& results = client::connections_by_url(options).results) static_cast<void>(results());
}

}  // namespace errand
