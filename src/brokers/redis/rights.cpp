#include "brokers/redis/rights.hpp"

#include "brokers/redis/scripts.gen.hpp"

#include <errand/error.hpp>

#include <string>
#include <utility>

namespace errand::redis {

namespace {
constexpr std::string_view kHash = "HDEL HEXISTS HMGET HSCAN HSET";
constexpr std::string_view kList = "LPUSH RPOP RPUSH";
constexpr std::string_view kScored = "ZADD ZRANGEBYSCORE ZREM ZSCORE";
constexpr std::string_view kText = "GET SET";
}  // namespace

void require_rights(Connection& connection, const Keys& keys, std::span<const std::string> queues) {
  std::vector<std::pair<std::string, std::string_view>> used{
      {keys.unacked(), kHash},         {keys.leases(), kHash},        {keys.held(), kHash},
      {keys.unacked_index(), kScored}, {keys.lease_index(), kScored}, {keys.owners(), kScored},
      {keys.token(), kText},           {keys.sweep(), "SET"},         {keys.unacked_mutex(), "SET"}};
  for (const std::string& queue : queues) {
    for (std::string& list : keys.lists(queue)) used.emplace_back(std::move(list), kList);
    used.emplace_back(keys.parked(queue), kScored);
    used.emplace_back(keys.dead(queue), kHash);
    used.emplace_back(keys.dead_index(queue), kScored);
  }
  std::vector<std::string> names;
  for (const auto& [key, commands] : used) names.push_back(key);
  Commands commands;
  commands.eval(kRightsScript, names);
  for (const auto& [key, with] : used) commands.word(with);
  const Reply refused = connection.eval(kRightsScript, commands, "redis.rights", Effect::repeatable);
  if (refused.elements.empty()) return;
  constexpr std::size_t kMostNamed = 8;
  std::string all;
  for (std::size_t i = 0; i < refused.elements.size() && i < kMostNamed; ++i) {
    all += (i == 0 ? "" : ", ") + refused.elements[i].text;
  }
  if (refused.elements.size() > kMostNamed) {
    all += " and " + std::to_string(refused.elements.size() - kMostNamed) + " more";
  }
  throw Error({.kind = ErrorKind::denied,
               .operation = "redis.rights",
               .subject = connection.url().address.text(),
               .detail = "this user may not run: " + all + "; grant it (ACL SETUSER name +command ~key &channel)",
               .code = "NOPERM"});
}

}  // namespace errand::redis
