// The native side of test_crontab_python.py. Standard input: one JSON object a line, {"fields": [minute, hour,
// day_of_month, month_of_year, day_of_week], "zone": name, "after": seconds, "before": seconds, "most": count}.
// Standard output: for each the numbers of the fields and what is due in between, or the error.
#include <errand/error.hpp>
#include <errand/schedule.hpp>
#include <errand/value.hpp>

#include <iostream>
#include <map>
#include <string>

using namespace errand;

namespace {

Value list(const std::vector<int>& numbers) {
  Array out;
  for (const int number : numbers) out.emplace_back(number);
  return Value(std::move(out));
}

TimePoint point(const Value& seconds) { return TimePoint{std::chrono::seconds{seconds.as_integer()}}; }

Value answer(const Value& asked) {
  static std::map<std::string, TimeZone> zones;
  const std::string& name = asked.find("zone")->as_text();
  auto zone = zones.find(name);
  if (zone == zones.end()) zone = zones.emplace(name, TimeZone::open(name)).first;
  const Array& fields = asked.find("fields")->as_array();
  const Crontab schedule({.minute = fields[0].as_text(),
                          .hour = fields[1].as_text(),
                          .day_of_month = fields[2].as_text(),
                          .month_of_year = fields[3].as_text(),
                          .day_of_week = fields[4].as_text()});
  const TimePoint before = point(*asked.find("before"));
  const std::int64_t most = asked.find("most")->as_integer();
  Array due;
  for (auto next = schedule.next(point(*asked.find("after")), zone->second);
       next && *next < before && static_cast<std::int64_t>(due.size()) < most;
       next = schedule.next(*next, zone->second)) {
    due.emplace_back(std::chrono::floor<std::chrono::seconds>(*next).time_since_epoch().count());
  }
  return Value::object({{"minute", list(schedule.minutes())},
                        {"hour", list(schedule.hours())},
                        {"day_of_month", list(schedule.days_of_month())},
                        {"month_of_year", list(schedule.months_of_year())},
                        {"day_of_week", list(schedule.days_of_week())},
                        {"due", Value(std::move(due))}});
}

}  // namespace

int main() {
  std::ios::sync_with_stdio(false);
  for (std::string line; std::getline(std::cin, line);) {
    Value told;
    try {
      told = answer(parse_json(line));
    } catch (const Error& error) {
      told = Value::object({{"error", error.what()}});
    }
    std::cout << to_json(told) << '\n';
  }
}
