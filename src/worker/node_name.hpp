#pragma once
// Names of workers, with Celery's expansions: %h host name, %n name before the @, %d domain.

#include <string>
#include <string_view>

namespace errand::worker {

/// "" becomes celery@<host>; "w1" becomes w1@<host>; %h, %n, %d and %% are expanded.
std::string expand_node_name(std::string_view given);
/// Expands the same in a queue's name ("appserver_%h"), by the node's name.
std::string expand(std::string_view text, std::string_view node_name);

}  // namespace errand::worker
