#include "brokers/redis/watch.hpp"

#include <algorithm>
#include <poll.h>

namespace errand::redis {

namespace {
constexpr Milliseconds kPollEvery{100};
constexpr std::string_view kBlockSeconds = "20";  // then the server answers nil: a proof that the line lives
}  // namespace

Watch::Watch(Url url, Milliseconds connect_timeout, std::vector<std::string> lists) : polls_(lists.size() > kMostLists) {
  if (polls_) return;
  for (std::string& list : lists) {
    lines_.push_back({std::move(list), std::make_unique<Connection>(url, connect_timeout, connect_timeout), false});
  }
}

void Watch::arm(Line& line) {
  if (line.blocked && line.connection->connected()) return;
  Commands commands;
  commands.add({"BLMOVE", line.list, line.list, "RIGHT", "RIGHT", kBlockSeconds});
  line.connection->send(commands);
  line.blocked = true;
}

void Watch::wait(Deadline deadline) {
  if (polls_) {
    wait_for_wake(deadline.earlier(Deadline::after(kPollEvery)));
    return;
  }
  std::vector<pollfd> waits{{woken_.fd(), POLLIN, 0}};
  for (Line& line : lines_) {
    arm(line);
    waits.push_back({line.connection->fd(), POLLIN, 0});
  }
  const int got = poll(waits.data(), waits.size(), deadline.poll_timeout());
  if (got <= 0) return;
  for (std::size_t i = 0; i < lines_.size(); ++i) {
    if (waits[i + 1].revents == 0) continue;
    Line& line = lines_[i];
    line.blocked = false;
    const auto reply = line.connection->poll_reply();
    if (!reply) {
      line.blocked = line.connection->connected();  // part of an answer
      continue;
    }
    if (reply->is_error() && reply->text.find("unknown command") != std::string::npos) {
      polls_ = true;  // a server before 6.2
      lines_.clear();
      return;
    }
    require(*reply, "redis.wait");
  }
}

void Watch::wait_for_wake(Deadline deadline) {
  pollfd waits{woken_.fd(), POLLIN, 0};
  poll(&waits, 1, deadline.poll_timeout());
}

}  // namespace errand::redis
