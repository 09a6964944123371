#include <errand/registry.hpp>

#include "core/text.hpp"

#include <errand/error.hpp>

#include <cxxabi.h>
#include <charconv>
#include <cstdlib>

namespace errand {

ResourceLimits ResourceLimits::or_else(const ResourceLimits& others) const {
  ResourceLimits out = *this;
  const auto fill = [](auto& mine, const auto& theirs) {
    if (!mine) mine = theirs;
  };
  fill(out.memory, others.memory);
  fill(out.cpu_time, others.cpu_time);
  fill(out.file_size, others.file_size);
  fill(out.disk, others.disk);
  fill(out.open_files, others.open_files);
  fill(out.processes, others.processes);
  return out;
}

namespace {
// The one list that Linked objects join before main(). Read by add_linked(), never changed after that.
const Linked*& linked_head() {
  static const Linked* head = nullptr;
  return head;
}
}  // namespace

void Linked::join() {
  next_ = linked_head();
  linked_head() = this;
}

void Registry::add_linked() {
  if (std::exchange(linked_, true)) return;
  for (const Linked* one = linked_head(); one != nullptr; one = one->next_) add(one->make_());
}

namespace {
void check_defaults(const TaskDefinition& definition) {
  for (const ParameterSchema& parameter : definition.schema.parameters) {
    if (parameter.required || parameter.check == nullptr) continue;
    try {
      parameter.check(parameter.default_value, parameter.name);
    } catch (const Error& error) {
      throw Error({.kind = ErrorKind::invalid,
                   .operation = "registry.add",
                   .subject = definition.name,
                   .detail = "default of " + error.detail()});
    }
  }
}

// The definition that both sides share says how a task is sent; the options of the worker may say more.
void merge_sending(SendDefaults& sending, TaskOptions& options) {
  if (options.queue.empty()) options.queue = sending.queue;
  options.queue_required = options.queue_required || sending.queue_required;
  if (!options.priority) options.priority = sending.priority;
  options.ignore_result = options.ignore_result || sending.ignore_result.value_or(false);
  if (!options.expires) options.expires = sending.expires;
  sending.queue = options.queue;
  sending.queue_required = options.queue_required;
  sending.priority = options.priority;
  if (options.ignore_result) sending.ignore_result = true;
  sending.expires = options.expires;
}
}  // namespace

void Registry::add(TaskDefinition definition) {
  if (definition.name.empty()) {
    throw Error({.kind = ErrorKind::invalid, .operation = "registry.add", .detail = "expected a task name, got none"});
  }
  check_defaults(definition);
  merge_sending(definition.schema.sending, definition.options);
  std::vector<std::shared_ptr<Hooks>> hooks = hooks_;
  hooks.insert(hooks.end(), definition.hooks.begin(), definition.hooks.end());
  definition.hooks = std::move(hooks);
  const std::string name = definition.name;
  if (!tasks_.emplace(name, std::move(definition)).second) {
    throw Error({.kind = ErrorKind::conflict,
                 .operation = "registry.add",
                 .subject = name,
                 .detail = "expected a new task name, this one is registered already"});
  }
}

void Registry::use(const std::shared_ptr<Hooks>& hooks) {
  hooks_.push_back(hooks);
  for (auto& [name, definition] : tasks_) definition.hooks.push_back(hooks);
}

void Registry::use(std::string_view task, std::shared_ptr<Hooks> hooks) {
  const auto found = tasks_.find(task);
  if (found == tasks_.end()) {
    throw Error({.kind = ErrorKind::not_found,
                 .operation = "registry.use",
                 .subject = std::string(task),
                 .detail = "expected a registered task; add the task before its hooks"});
  }
  found->second.hooks.push_back(std::move(hooks));
}

const TaskDefinition* Registry::find(std::string_view name) const {
  const auto found = tasks_.find(name);
  return found == tasks_.end() ? nullptr : &found->second;
}

std::vector<const TaskDefinition*> Registry::all() const {
  std::vector<const TaskDefinition*> all;
  for (const auto& [name, definition] : tasks_) all.push_back(&definition);
  return all;
}

bool Registry::empty() const noexcept { return tasks_.empty(); }

void Hooks::before(TaskContext&, const Array&, const Object&) {}
void Hooks::on_success(TaskContext&, const Value&) {}
void Hooks::on_retry(TaskContext&, const Failure&, Milliseconds) {}
void Hooks::on_failure(TaskContext&, const Failure&, const Array&, const Object&) {}
void Hooks::after(TaskContext&, std::string_view) {}

std::string readable_type_name(const std::type_info& type) {
  int status = 0;
  char* name = abi::__cxa_demangle(type.name(), nullptr, nullptr, &status);
  std::string text = status == 0 && name != nullptr ? name : type.name();
  std::free(name);
  return text;
}

RetryRule retry_on_type(std::string type, RetryPolicy policy) {
  return {[type](const Failure& failure) {
            return failure.type == type || (!failure.module.empty() && failure.module + "." + failure.type == type);
          },
          std::move(policy), std::move(type)};
}

const RetryPolicy& retry_policy_for(const TaskOptions& options, const Failure& failure) {
  for (const RetryRule& rule : options.retry_on) {
    if (rule.matches && rule.matches(failure)) return rule.policy;
  }
  return options.retry;
}

RateLimit RateLimit::parse(std::string_view text) {
  const auto refuse = [&]() -> RateLimit {
    throw Error({.kind = ErrorKind::invalid,
                 .operation = "rate_limit",
                 .subject = std::string(text),
                 .detail = "expected a rate such as '10/s', '100/m' or '3/h', got another form"});
  };
  if (text.empty()) return {};
  const std::size_t slash = text.find('/');
  double tasks = 0;
  const std::string_view number = text.substr(0, slash);
  const auto parsed = std::from_chars(number.data(), number.data() + number.size(), tasks);
  if (parsed.ec != std::errc{} || parsed.ptr != number.data() + number.size() || !(tasks >= 0 && tasks <= 1e9))
    return refuse();
  if (slash == std::string_view::npos) return {tasks, Milliseconds{1'000}};
  const std::string_view unit = text.substr(slash + 1);
  if (unit == "s") return {tasks, Milliseconds{1'000}};
  if (unit == "m") return {tasks, Milliseconds{60'000}};
  if (unit == "h") return {tasks, Milliseconds{3'600'000}};
  return refuse();
}

std::string RateLimit::describe() const {
  if (tasks <= 0) return "none";
  std::string number = to_json(Value(tasks));
  if (number.size() > 2 && number.substr(number.size() - 2) == ".0") number.resize(number.size() - 2);
  return number + (per == Milliseconds{60'000} ? "/m" : per == Milliseconds{3'600'000} ? "/h" : "/s");
}

}  // namespace errand
