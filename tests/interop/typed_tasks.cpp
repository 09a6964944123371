// One task that takes every type a task can take, and returns what it got: for Python's calls by place and by name, and
// for the catalogue's JSON Schema.
#include <errand/registry.hpp>

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

namespace shop {
struct Box {
  std::int32_t width = 0;
  std::optional<std::string> label;
};
enum class Paper { a4, letter };
}  // namespace shop
ERRAND_STRUCT(shop::Box, width, label)
ERRAND_ENUM(shop::Paper, a4, letter)

namespace {

using Table = std::map<std::string, std::int64_t>;
using Pair = std::tuple<std::int64_t, std::string>;

constexpr errand::Task<errand::Array(bool, std::uint8_t, std::int64_t, double, std::string, errand::Bytes,
                                     std::optional<std::string>, std::vector<std::int64_t>, Table, Pair, shop::Paper,
                                     std::chrono::milliseconds, errand::TimePoint, shop::Box, errand::Value)>
    types{"cpp.types",
          {"flag",
           "small",
           "large",
           "number",
           "text",
           "data",
           "maybe",
           "list",
           "table",
           "pair",
           "paper",
           "wait",
           "when",
           "box",
           {"anything", "default"}}};

template <class... T>
errand::Array as_json(const T&... values) {
  return {errand::Codec<T>::encode(values)...};
}

const errand::Linked types_task{
    types,
    [](bool flag, std::uint8_t small, std::int64_t large, double number, std::string text, errand::Bytes data,
       std::optional<std::string> maybe, std::vector<std::int64_t> list, Table table, Pair pair, shop::Paper paper,
       std::chrono::milliseconds wait, errand::TimePoint when, shop::Box box, errand::Value anything) {
      return as_json(flag, small, large, number, text, data.data, maybe, list, table, pair, paper, wait, when, box,
                     anything);
    }};

}  // namespace
