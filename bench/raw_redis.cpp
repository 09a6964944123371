// The raw client for Redis, on hiredis: Errand's own fetch script, then SETEX and PUBLISH for each result and one
// command per table for the acknowledgements, all of it pipelined with the next fetch.
#include "brokers/redis/keys.hpp"
#include "brokers/redis/scripts.gen.hpp"
#include "raw.hpp"

#include <hiredis/hiredis.h>
#include <algorithm>
#include <stdexcept>
#include <string_view>

namespace errand::bench {

namespace {

using ReplyPtr = std::unique_ptr<redisReply, decltype(&freeReplyObject)>;

constexpr std::string_view kQueue = "bench";
constexpr std::string_view kSecondsToLive = "86400";

class RawRedis final : public RawClient {
 public:
  RawRedis(const std::string& host, int port, int database) : context_(redisConnect(host.c_str(), port), redisFree) {
    if (context_ == nullptr || context_->err != 0) throw std::runtime_error("raw_redis: no connection");
    call({"SELECT", std::to_string(database)});
    sha_ = call({"SCRIPT", "LOAD", std::string(redis::kFetchScript.source)})->str;
    fetch_keys_ = {keys_.unacked(), keys_.unacked_index(), keys_.leases(),  keys_.lease_index(),
                   keys_.held(),    keys_.token(),         keys_.revoked(), keys_.parked(kQueue)};
    for (std::string& list : keys_.lists(kQueue)) fetch_keys_.push_back(std::move(list));
  }

  std::vector<RawMessage> take_all() override {
    const std::string list = keys_.list(kQueue, 0);
    std::vector<RawMessage> out;
    const ReplyPtr all = call({"LRANGE", list, "0", "-1"});
    for (std::size_t i = all->elements; i-- > 0;) {
      out.push_back({std::string(all->element[i]->str, all->element[i]->len), {}});
    }
    call({"DEL", list});
    return out;
  }

  void publish(const std::vector<RawMessage>& messages, std::size_t batch) override {
    const std::string list = keys_.list(kQueue, 0);
    for (std::size_t at = 0; at < messages.size(); at += batch) {
      words_ = {"LPUSH", list};
      for (std::size_t i = at; i < std::min(messages.size(), at + batch); ++i) words_.push_back(messages[i].head);
      append();
      reply();
    }
  }

  std::size_t cycle(std::size_t batch) override {
    std::size_t skipped = 0;
    if (!tags_.empty()) {
      for (const std::string& key : result_keys_) {
        words_ = {"SETEX", key, kSecondsToLive, record_};
        append();
        words_ = {"PUBLISH", key, record_};
        append();
      }
      for (const auto& [command, key] : tables_) {
        words_ = {command, key};
        words_.insert(words_.end(), tags_.begin(), tags_.end());
        append();
      }
      skipped = 2 * tags_.size() + tables_.size();
    }
    const std::string count = std::to_string(batch), steps = std::to_string(keys_.step_count());
    const std::string keys = std::to_string(fetch_keys_.size());
    words_ = {"EVALSHA", sha_, keys};
    words_.insert(words_.end(), fetch_keys_.begin(), fetch_keys_.end());
    words_.insert(words_.end(), {count, "raw", "60000000", steps, "fresh-", "\"bench\""});
    append();
    for (; skipped > 0; --skipped) reply();
    return take_in(*reply());
  }

 private:
  std::size_t take_in(const redisReply& got) {
    constexpr std::size_t kHead = 5, kEach = 3;
    constexpr std::string_view kId = "\"id\": \"", kTaskId = "celery-task-meta-";
    constexpr std::size_t kUuid = 36;
    tags_.clear();
    result_keys_.clear();
    for (std::size_t at = kHead; at + kEach <= got.elements; at += kEach) {
      tags_.emplace_back(got.element[at]->str, got.element[at]->len);
      const std::string_view bytes(got.element[at + 2]->str, got.element[at + 2]->len);
      result_keys_.emplace_back(kTaskId).append(bytes.substr(bytes.find(kId) + kId.size(), kUuid));
    }
    return tags_.size();
  }

  void append() {
    pointers_.clear();
    sizes_.clear();
    for (const std::string_view word : words_) {
      pointers_.push_back(word.data());
      sizes_.push_back(word.size());
    }
    redisAppendCommandArgv(context_.get(), static_cast<int>(words_.size()), pointers_.data(), sizes_.data());
  }
  ReplyPtr reply() {
    void* out = nullptr;
    if (redisGetReply(context_.get(), &out) != REDIS_OK) throw std::runtime_error("raw_redis: connection lost");
    ReplyPtr got(static_cast<redisReply*>(out), freeReplyObject);
    if (got->type == REDIS_REPLY_ERROR) throw std::runtime_error(std::string("raw_redis: ") + got->str);
    return got;
  }
  ReplyPtr call(const std::vector<std::string>& words) {
    words_.assign(words.begin(), words.end());
    append();
    return reply();
  }

  std::unique_ptr<redisContext, decltype(&redisFree)> context_;
  redis::Keys keys_{"", {0, 3, 6, 9}};
  std::string sha_;
  std::vector<std::string> fetch_keys_, tags_, result_keys_;
  // What knows of a message that is handed out, and how it is made to forget it.
  const std::vector<std::pair<std::string_view, std::string>> tables_{{"HDEL", keys_.unacked()},
                                                                      {"ZREM", keys_.unacked_index()},
                                                                      {"HDEL", keys_.leases()},
                                                                      {"ZREM", keys_.lease_index()}};
  std::vector<std::string_view> words_;
  std::vector<const char*> pointers_;
  std::vector<std::size_t> sizes_;
  // Of the size that Errand writes.
  const std::string record_ =
      R"({"status": "SUCCESS", "result": 12345, "traceback": null, "children": [], "date_done": )"
      R"("2026-01-01T00:00:00.000000+00:00", "task_id": "00000000-0000-4000-8000-000000000000"})" +
      std::string(32, ' ');
};

}  // namespace

std::unique_ptr<RawClient> raw_redis(const std::string& host, int port, int database) {
  return std::make_unique<RawRedis>(host, port, database);
}

}  // namespace errand::bench
