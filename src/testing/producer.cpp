#include "testing/producer.hpp"

#include "protocol/signature_json.hpp"
#include "protocol/task_message.hpp"
#include "testing/cluster.hpp"

#include <errand/error.hpp>

namespace errand::testing {

Producer::Producer(Cluster& cluster) : cluster_(cluster) {
  const auto host = cluster.options.store == Store::sqlite ? cluster.machine : std::make_shared<Host>(cluster.world);
  process_ =
      std::make_shared<Process>(Process{.cluster = cluster, .name = "producer", .owner = "producer", .host = host});
}

Producer::~Producer() { shut_down(); }

void Producer::shut_down() {
  process_->alive = false;
  if (strand_ && !strand_->done()) strand_->kill();
  strand_.reset();
}

void Producer::add(Job job) {
  jobs_.push_back(std::move(job));
  if (!strand_) strand_ = cluster_.world.spawn(process_->host, [this] { work(); });
  strand_->ring();
}

void Producer::send(Make make, Done done) {
  add({[this, make = std::move(make)](Client& client) -> std::optional<Error> {
         std::vector<Signature> calls = make();
         for (Signature& call : calls) protocol::freeze(call);
         std::optional<Error> failure;
         try {
           client.send_many(calls);
         } catch (const Error& error) {
           failure = error;
         }
         answered(calls, failure);
         return failure;
       },
       std::move(done)});
}

void Producer::send_chord(std::string group, std::vector<Signature> members, Signature body, Done done) {
  add({[this, group = std::move(group), members = std::move(members), body = std::move(body)](Client&) {
         std::vector<Envelope> envelopes;
         const Value chord = protocol::signature_to_json(body);
         for (const Signature& member : members) {
           protocol::SenderInfo sender;
           sender.now = process_->host->now();
           sender.origin = protocol::sender_origin();
           Envelope envelope;
           envelope.route = {"", cluster_.options.queue};
           envelope.message = protocol::encode_task(member, sender);
           Value content = parse_json(envelope.message.body);
           content.if_array()->at(2).if_object()->set("chord", chord);
           envelope.message.body = to_json(content);
           envelopes.push_back(std::move(envelope));
         }
         std::optional<Error> failure;
         try {
           SimBackend results(process_);
           results.set_chord_size(group, members.size());
           SimBroker(process_).publish(envelopes);
         } catch (const Error& error) {
           failure = error;
         }
         answered(members, failure);
         return failure;
       },
       std::move(done)});
}

void Producer::answered(std::span<const Signature> calls, const std::optional<Error>& failure) {
  if (failure) cluster_.world.note("producer", std::string("was refused: ") + failure->what());
  const auto answer = !failure                                 ? Ledger::Answer::acknowledged
                      : failure->kind() == ErrorKind::in_doubt ? Ledger::Answer::in_doubt
                                                               : Ledger::Answer::refused;
  for (const Signature& call : calls) cluster_.ledger.sent(call.options.task_id, answer);
}

void Producer::work() {
  ClientConnections connections;
  connections.broker = [this] { return std::make_unique<SimBroker>(process_); };
  connections.clock = process_->host;
  connections.pause = [this](Milliseconds pause) { Strand::current()->sleep_until(cluster_.world.now() + pause); };
  ClientOptions options;
  options.default_queue = cluster_.options.queue;
  Client client(std::move(options), std::move(connections));
  for (;;) {
    if (jobs_.empty()) {
      Strand::current()->wait_until(SteadyPoint::max());
      continue;
    }
    const Job job = std::move(jobs_.front());
    jobs_.pop_front();
    busy_ = true;
    const std::optional<Error> failure = job.run(client);
    busy_ = false;
    if (job.done) job.done(failure ? &*failure : nullptr);
  }
}

}  // namespace errand::testing
