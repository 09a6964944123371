#pragma once
// SqliteSubscriber: broadcasts from the moment of subscribing, read in order; one that sleeps for a minute misses some.

#include "wire/sqlite/store.hpp"

#include <errand/broker.hpp>

namespace errand::sqlite {

class SqliteSubscriber final : public Consumer {
 public:
  SqliteSubscriber(std::string path, Route pattern);
  std::span<Delivery> next(std::size_t max, Deadline deadline) override;
  void settle(std::span<const Settlement>) override {}
  void extend(std::span<const Receipt>, Milliseconds) override {}
  void wake() noexcept override { waiter_.wake(); }

 private:
  void look(std::size_t max);
  Store store_;
  Route pattern_;
  Waiter waiter_;
  std::int64_t seen_ = 0;
  std::vector<Delivery> deliveries_;
};

}  // namespace errand::sqlite
