#include "value/key_hash.hpp"

#include <errand/error.hpp>
#include <errand/value.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <random>
#include <string>
#include <utility>
#include <vector>

using namespace errand;

namespace {

// What an object must behave like, in the plainest form there is.
class Model {
 public:
  void set(const std::string& key, std::int64_t value) {
    if (auto* found = find(key)) {
      found->second = value;
    } else {
      members_.emplace_back(key, value);
    }
  }
  bool erase(const std::string& key) {
    auto* found = find(key);
    if (found == nullptr) return false;
    members_.erase(members_.begin() + (found - members_.data()));
    return true;
  }
  bool same(const Object& object) {
    return std::equal(object.begin(), object.end(), members_.begin(), members_.end(),
                      [&](const Object::Member& is, const auto& expected) {
                        return is.first == expected.first && is.second == Value(expected.second) &&
                               object.find(is.first) == &is.second;
                      });
  }

 private:
  std::pair<std::string, std::int64_t>* find(const std::string& key) {
    const auto at = std::find_if(members_.begin(), members_.end(), [&](const auto& one) { return one.first == key; });
    return at == members_.end() ? nullptr : &*at;
  }
  std::vector<std::pair<std::string, std::int64_t>> members_;
};

}  // namespace

// The index holds positions, and each erase moves positions: a slip would answer with another key's value.
TEST_CASE("an object answers like a list of pairs through any order of set and erase, below and above the index") {
  for (const int keys : {5, 16, 17, 40, 300}) {
    std::minstd_rand random(static_cast<unsigned>(keys));
    Object object;
    Model model;
    for (int step = 0; step < 3'000; ++step) {
      const std::string key = "k" + std::to_string(static_cast<int>(random()) % keys);
      if (random() % 3 == 0) {
        REQUIRE(object.erase(key) == model.erase(key));
      } else {
        object.set(key, step);
        model.set(key, step);
      }
      if (step % 50 == 0) REQUIRE(model.same(object));
    }
    CHECK(model.same(object));
    CHECK(object.find("absent") == nullptr);
  }
}

TEST_CASE("members taken at once keep the last value of a key at its first place, in small and in large objects") {
  for (const int count : {2, 16, 17, 200}) {
    std::vector<Object::Member> members;
    for (int i = 0; i < count; ++i) members.emplace_back("k" + std::to_string(i), i);
    for (int i = 0; i < count; i += 2) members.emplace_back("k" + std::to_string(i), -i);
    const Object object(std::move(members));
    REQUIRE(object.size() == static_cast<std::size_t>(count));
    int i = 0;
    for (const auto& [key, value] : object) {
      CHECK(key == "k" + std::to_string(i));
      CHECK(value.as_integer() == (i % 2 == 0 ? -i : i));
      CHECK(object.find(key) == &value);
      ++i;
    }
  }
}

TEST_CASE("a moved object takes its index along and leaves an empty, usable one") {
  Object from;
  for (int i = 0; i < 100; ++i) from.set("k" + std::to_string(i), i);
  Object to = std::move(from);
  CHECK(to.find("k99")->as_integer() == 99);
  CHECK(from.empty());
  from.set("again", 1);
  CHECK(from.find("again")->as_integer() == 1);
  CHECK(from.find("k99") == nullptr);
  from = std::move(to);
  CHECK(from.find("k50")->as_integer() == 50);
  CHECK(from.find("again") == nullptr);
  CHECK(to.empty());
}

TEST_CASE("an object may be replaced by one of its own members") {
  Value outer = Value::object({{"inner", Value::object({{"a", 1}})}});
  outer.as_object() = std::move(outer.as_object().find("inner")->as_object());
  CHECK(outer == Value::object({{"a", 1}}));
}

TEST_CASE("a missing key is named by the error") {
  const Object object{{"a", 1}};
  CHECK_THROWS_WITH_AS(object.at("b"), "value: expected this key in the object, it is missing (b)", Error);
}

// Vectors of the reference implementation: key 00 01 .. 0f, text 00 01 .. of the given length.
TEST_CASE("the key hash is SipHash") {
  constexpr value::SipKey kKey{0x0706050403020100, 0x0f0e0d0c0b0a0908};
  struct Row {
    std::size_t length;
    std::uint64_t hash;
  };
  for (const Row row : {Row{0, 0x726fdb47dd0e0e31}, Row{1, 0x74f839c593dc67fd}, Row{8, 0x93f5f5799a932462},
                        Row{15, 0xa129ca6149be45e5}}) {
    std::string text;
    for (std::size_t i = 0; i < row.length; ++i) text += static_cast<char>(i);
    CAPTURE(row.length);
    CHECK(value::siphash<2, 4>(text, kKey) == row.hash);
    CHECK(value::siphash<1, 3>(text, kKey) != row.hash);
  }
  CHECK(value::key_hash("task") == value::key_hash("task"));
  CHECK(value::key_hash("task") != value::key_hash("tasj"));
}
