// What a C++ program sends to Python workers besides single tasks: chains over the border, callbacks, groups, and how
// Python's failures arrive as C++ exceptions. One flow, its outcome as JSON on standard output.
//
//   native_flows URL chain|link|link_error|group|failure|send_many|bytes
#include <errand/client.hpp>

#include <chrono>
#include <cstdio>
#include <exception>
#include <string>
#include <vector>

using namespace errand;
using namespace std::chrono_literals;

namespace {

constexpr auto kPatience = 40s;

Signature python(std::string task, Array args) { return Signature(std::move(task), std::move(args)).on("python"); }

Value ids_of(const std::vector<AsyncResult>& results) {
  Array ids;
  for (const AsyncResult& one : results) ids.emplace_back(one.id());
  return Value(std::move(ids));
}

Value chain(Client& client) {
  const AsyncResult last =
      client.send(python("py.add", {1, 2}).then(Signature("cpp.add", {10}).on("native")).then(python("py.add", {100})));
  const Value result = last.get(kPatience);
  std::vector<AsyncResult> before;
  for (auto step = last.parent(); step; step = step->parent()) before.push_back(*step);
  return Value::object({{"result", result}, {"before", ids_of(before)}});
}

Value link(Client& client, bool fails) {
  const TaskId callback = fails ? "native-errback" : "native-callback";
  Signature call = fails ? python("py.fail", {"deliberate"}).on_error(python("py.note_error", {}).with_id(callback))
                         : python("py.add", {20, 22}).linked(python("py.echo", {}).with_id(callback));
  const AsyncResult result = client.send(std::move(call));
  if (result.wait(Deadline::after(kPatience)) == false) throw ResultTimeout(result.id(), result.state());
  return Value::object({{"id", result.id()}, {"callback", client.result(callback).get(kPatience)}});
}

std::vector<Signature> sums() {
  std::vector<Signature> members;
  for (int i = 0; i < 10; ++i) members.push_back(python("py.add", {i, i}));
  return members;
}

Value failure(Client& client) {
  try {
    client.send(python("py.fail", {"deliberate"})).get(kPatience);
  } catch (const TaskFailed& error) {
    return Value::object({{"type", error.type()},
                          {"message", error.message()},
                          {"module", error.module()},
                          {"traceback", error.traceback()}});
  }
  return "no failure";
}

Value run(Client& client, const std::string& flow) {
  if (flow == "chain") return chain(client);
  if (flow == "link" || flow == "link_error") return link(client, flow == "link_error");
  if (flow == "group") return Value(client.send_group(sums()).get(Deadline::after(kPatience)));
  if (flow == "failure") return failure(client);
  if (flow == "bytes") return client.send(python("py.kind", {Bytes{std::string("\xff\0", 2)}})).get(kPatience);
  Array results;
  for (const AsyncResult& one : client.send_many(sums())) results.push_back(one.get(kPatience));
  return Value(std::move(results));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  try {
    ClientOptions options;
    options.broker_url = argv[1];
    if (argc > 3) options.typed_json = true;
    Client client(std::move(options));
    std::puts(to_json(run(client, argv[2])).c_str());
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
