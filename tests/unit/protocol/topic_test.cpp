#include "protocol/topic.hpp"

#include <doctest/doctest.h>

#include <array>
#include <string>

using namespace errand::protocol;

TEST_CASE("priorities fall to the step below them, and outside 0 to 9 to the nearest end") {
  const std::array<int, 12> expected{0, 0, 0, 0, 3, 3, 3, 6, 6, 6, 9, 9};
  for (int priority = -1; priority <= 10; ++priority) {
    CAPTURE(priority);
    CHECK(priority_step(priority) == expected[static_cast<std::size_t>(priority + 1)]);
  }
  const std::array<int, 2> two{0, 5};
  CHECK(priority_step(4, two) == 0);
  CHECK(priority_step(9, two) == 5);
}

TEST_CASE("keys are spelled as kombu spells them") {
  CHECK(queue_key("celery", 0) == "celery");
  CHECK(queue_key("celery", 3) ==
        "celery\x06\x16"
        "3");
  CHECK(binding_key("celery") == "_kombu.binding.celery");
  CHECK(result_key("i") == "celery-task-meta-i");
  CHECK(group_key("g", ".j") == "celery-taskset-meta-g.j");
  CHECK(fanout_channel(5, "celeryev", "worker.online") == "/5.celeryev/worker.online");
  CHECK(fanout_channel(5, "celery.pidbox", "") == "/5.celery.pidbox");
  CHECK(fanout_pattern(5, "celeryev", "#") == "/5.celeryev/*");
}

TEST_CASE("a binding is three parts, each of which may be empty") {
  const Binding binding{"task.#", topic_pattern("task.#"), "q1"};
  CHECK(format_binding(binding) == "task.#\x06\x16^task\\..*?$\x06\x16q1");
  CHECK(parse_binding(format_binding(binding)) == binding);
  CHECK(parse_binding("\x06\x16\x06\x16w1") == Binding{"", "", "w1"});
  CHECK_FALSE(
      parse_binding("celery\x06\x16"
                    "celery"));
  CHECK(binding_matches("topic", binding, "task.a"));
  CHECK_FALSE(binding_matches("topic", binding, "task"));
  CHECK(binding_matches("fanout", {"", "", "q"}, "anything"));
  CHECK(binding_matches("direct", {"k", "", "q"}, "k"));
  CHECK_FALSE(binding_matches("direct", {"k", "", "q"}, "x"));
}

// Backtracking over this would take longer than the universe has.
TEST_CASE("hostile topic keys cost no more than their length") {
  std::string key = "#";
  for (int i = 0; i < 60; ++i) key += ".#";
  CHECK_FALSE(topic_matches(key + ".x", std::string(200, '.') + "y"));
}
