#include "config/signing_section.hpp"

#include "config/reader.hpp"

namespace errand::config {

namespace {

constexpr Setting kPolicy{
    .group = "", .name = "", .type = Type::choice, .fallback = "", .doc = "", .choices = "off|accept|require"};

SignaturePolicy policy_of(const Value& value) {
  const std::string& text = value.as_text();
  return text == "require"  ? SignaturePolicy::require
         : text == "accept" ? SignaturePolicy::accept
                            : SignaturePolicy::off;
}

// A member of a table that is read by the words of a setting.
SignaturePolicy policy_of(const Node& node) {
  if (node.table) Reader::refuse(expectation(kPolicy), node);
  const Converted converted = convert_value(kPolicy, node.value);
  if (!converted.value) Reader::refuse_with(converted.wrong);
  return policy_of(*converted.value);
}

const std::string& text_of(const Node& node, const std::string& expected) {
  const std::string* text = node.table ? nullptr : node.value.if_text();
  if (text == nullptr || text->empty()) Reader::refuse(expected, node);
  return *text;
}

// Runs `take` for each member of the table under `name`; the mistake of one names its own line.
void each(Reader& reader, std::string_view name, const std::function<void(const std::string&, const Node&)>& take) {
  reader.key(name, [&](const Node& node) {
    if (!node.table) Reader::refuse("a table", node);
    for (const auto& [member, value] : node.members) {
      try {
        take(member, value);
      } catch (const Error& error) {
        reader.wrong(value.line, std::string(name) + "." + quoted(member) + ": " + error.detail());
      }
    }
  });
}

}  // namespace

const std::vector<TableKey>& signing_keys() {
  static const std::vector<TableKey> keys{
      {"key", "text", "The name by which others know the key that this process signs with. Not set: it signs nothing."},
      {"key_file", "path",
       "The private key in PEM, Ed25519 or RSA, without a passphrase. Readable by its owner and group only (0640 or "
       "tighter)."},
      {"trusted", "table of paths", "Public keys by name: `{ \"web-2026\" = \"/etc/errand/web-2026.pub\" }`."},
      {"policy", "off, accept or require",
       "What queues ask of a message: nothing; that a signature is right if there is one; that there is one. Default "
       "off. Remote control goes by the strictest of all queues."},
      {"queues", "table", "Policies of single queues: `{ media = \"accept\" }`."},
      {"allow", "table of arrays",
       "Which keys may send a task: `{ \"provision.*\" = [\"ops\"] }`. The first pattern that fits decides; without "
       "one "
       "every trusted key may."},
      {"max_age", "duration",
       "A message that was signed longer ago, and whose ETA passed longer ago, is refused. Default: none is too old."},
      {"replay_window", "duration",
       "How long a worker recognises a copy of a message that it has had, how old a command of remote control may be, "
       "and "
       "how far clocks may differ. Default 10min."},
      {"max_remembered", "integer",
       "Messages remembered for that; beyond it the oldest are forgotten. Default 100000."},
  };
  return keys;
}

SigningOptions read_signing(const Node& table, const std::string& file, Problems& problems) {
  SigningOptions out;
  Reader reader(table, file, "[signing] ", problems);
  std::optional<std::string> key, key_file;
  std::optional<Milliseconds> max_age, replay_window;
  std::optional<std::uint32_t> max_remembered;
  reader.text("key", key);
  reader.text("key_file", key_file);
  each(reader, "trusted",
       [&](const std::string& id, const Node& node) { out.trusted[id] = text_of(node, "the path of a public key"); });
  reader.setting("policy", kPolicy, [&](const Value& value) { out.policy = policy_of(value); });
  each(reader, "queues", [&](const std::string& queue, const Node& node) {
    if (const std::string mistake = queue_name_mistake(queue); !mistake.empty()) Reader::refuse_with(mistake);
    out.queues[queue] = policy_of(node);
  });
  each(reader, "allow", [&](const std::string& pattern, const Node& node) {
    out.allowed.push_back({pattern, Reader::texts(node, "an array of names of keys")});
  });
  reader.duration("max_age", max_age);
  reader.duration("replay_window", replay_window);
  reader.count("max_remembered", max_remembered);
  reader.finish();
  if (key.has_value() != key_file.has_value()) {
    reader.wrong(table.line, key ? "expected key_file beside key, got none" : "expected key beside key_file, got none");
  }
  out.key_id = key.value_or("");
  out.key_file = key_file.value_or("");
  if (max_age) out.max_age = *max_age;
  if (replay_window) out.replay_window = *replay_window;
  if (max_remembered) out.max_remembered = *max_remembered;
  if (!out.allowed.empty() && !out.verifies()) {
    reader.wrong(table.line,
                 "expected a policy of accept or require beside allow, got off: no rule would be looked at");
  }
  if (out.verifies() && out.trusted.empty()) {
    reader.wrong(table.line, "expected trusted keys where a policy is accept or require, got none");
  }
  return out;
}

}  // namespace errand::config
