// Any bytes: a crontab or Error{invalid}. What was read is written so that it reads back equal, and every next due
// instant is later.

#include <errand/error.hpp>
#include <errand/schedule.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace errand;
  try {
    const Crontab schedule = Crontab::parse(std::string_view(reinterpret_cast<const char*>(data), size));
    if (!(Crontab::parse(schedule.text()) == schedule)) std::abort();
    TimePoint last = TimePoint{std::chrono::seconds{1'800'000'000}};
    for (int i = 0; i < 10; ++i) {
      const auto next = schedule.next(last);
      if (!next) break;
      if (*next <= last) std::abort();
      last = *next;
    }
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::invalid) std::abort();
  }
  return 0;
}
