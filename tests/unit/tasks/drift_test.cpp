// F125: senders and workers are deployed at different times, so payloads of older and newer versions arrive. The corpus
// holds one payload of each version that was ever sent; every build reads all of them.
#include <errand/codec.hpp>

#include <doctest/doctest.h>

#include <string>
#include <vector>

using namespace errand;

namespace orders {
enum class Ship { post, courier };
/// Version 4. Since 1: `amount` became `cents` (2), `note` was added (3), `tags` and `ship` (4).
struct Strict {
  std::string id;
  std::int64_t cents = 0;
  std::optional<std::string> note;
  std::vector<std::string> tags;
  Ship ship = Ship::post;
};
struct Lenient {
  static constexpr bool errand_defaults = true;
  static constexpr bool errand_ignores_unknown = true;
  std::string id;
  std::int64_t cents = 0;
  std::optional<std::string> note;
  std::vector<std::string> tags;
  Ship ship = Ship::post;
};
}  // namespace orders
ERRAND_ENUM(orders::Ship, post, courier)
ERRAND_STRUCT(orders::Strict, id, cents, note, tags, ship)
ERRAND_STRUCT(orders::Lenient, id, cents, note, tags, ship)

namespace {

struct Sent {
  int version;
  const char* payload;
  const char* strict;   ///< read by the struct that takes only what it knows: as written again, or the error
  const char* lenient;  ///< by the one with defaults that ignores the rest
};

const std::vector<Sent> kCorpus{
    {1, R"({"id": "o-1", "amount": 12.5})", "order.cents: expected integer, it is missing",
     R"({"id": "o-1", "cents": 0, "note": null, "tags": [], "ship": "post"})"},
    {2, R"({"id": "o-2", "cents": 1250})", "order.tags: expected list of text, it is missing",
     R"({"id": "o-2", "cents": 1250, "note": null, "tags": [], "ship": "post"})"},
    {3, R"({"id": "o-3", "cents": 1250, "note": "bell"})", "order.tags: expected list of text, it is missing",
     R"({"id": "o-3", "cents": 1250, "note": "bell", "tags": [], "ship": "post"})"},
    {4, R"({"id": "o-4", "cents": 1250, "note": null, "tags": ["a"], "ship": "courier"})",
     R"({"id": "o-4", "cents": 1250, "note": null, "tags": ["a"], "ship": "courier"})",
     R"({"id": "o-4", "cents": 1250, "note": null, "tags": ["a"], "ship": "courier"})"},
    // From a newer sender: a field, a value and a type that this version does not know.
    {5, R"({"id": "o-5", "cents": 1250, "note": null, "tags": [], "ship": "post", "currency": "EUR"})",
     "order.currency: expected no such field",
     R"({"id": "o-5", "cents": 1250, "note": null, "tags": [], "ship": "post"})"},
    {6, R"({"id": "o-6", "cents": 1250, "note": null, "tags": [], "ship": "drone"})",
     "order.ship: expected post | courier, got 'drone'", "order.ship: expected post | courier, got 'drone'"},
    {7, R"({"id": "o-7", "cents": "1250", "note": null, "tags": [], "ship": "post"})",
     "order.cents: expected integer, got text", "order.cents: expected integer, got text"},
    {8, R"({"id": "o-8", "cents": 1250, "note": ["x"], "tags": [], "ship": "post"})",
     "order.note: expected text, got array", "order.note: expected text, got array"},
};

template <class T>
std::string read(const char* payload) {
  try {
    return to_json(Codec<T>::encode(Codec<T>::decode(parse_json(payload), "order")));
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::invalid);
    return error.detail();
  }
}

}  // namespace

TEST_CASE("F125_payloads of every version are read as the struct says, or refused with field, expected and given") {
  for (const Sent& sent : kCorpus) {
    CAPTURE(sent.version);
    CHECK(read<orders::Strict>(sent.payload) == sent.strict);
    CHECK(read<orders::Lenient>(sent.payload) == sent.lenient);
  }
}

TEST_CASE("F125_the catalogue says which payloads may have more fields") {
  CHECK(to_json(Codec<orders::Strict>::schema()).find(R"("additionalProperties": false)") != std::string::npos);
  CHECK(to_json(Codec<orders::Lenient>::schema()).find(R"("additionalProperties": true)") != std::string::npos);
}
