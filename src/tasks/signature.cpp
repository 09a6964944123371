#include <errand/signature.hpp>

namespace errand {

Signature Signature::on(std::string queue) && {
  options.queue = std::move(queue);
  return std::move(*this);
}
Signature Signature::on(std::string queue) const& { return Signature(*this).on(std::move(queue)); }
Signature Signature::with_id(TaskId id) && {
  options.task_id = std::move(id);
  return std::move(*this);
}
Signature Signature::priority(int value) && {
  options.priority = value;
  return std::move(*this);
}
Signature Signature::countdown(Milliseconds wait) && {
  options.countdown = wait;
  return std::move(*this);
}
Signature Signature::eta(TimePoint when) && {
  options.eta = when;
  return std::move(*this);
}
Signature Signature::expires(Milliseconds after_sending) && {
  options.expires_in = after_sending;
  return std::move(*this);
}
Signature Signature::expires_at(TimePoint when) && {
  options.expires = when;
  return std::move(*this);
}
Signature Signature::time_limit(Milliseconds hard) && {
  options.time_limit = hard;
  return std::move(*this);
}
Signature Signature::soft_time_limit(Milliseconds soft) && {
  options.soft_time_limit = soft;
  return std::move(*this);
}
Signature Signature::ignore_result(bool value) && {
  options.ignore_result = value;
  return std::move(*this);
}
Signature Signature::compressed(std::string method) && {
  options.compression = std::move(method);
  return std::move(*this);
}
Signature Signature::header(std::string name, Value value) && {
  options.headers.set(std::move(name), std::move(value));
  return std::move(*this);
}
Signature Signature::as_immutable() && {
  immutable = true;
  return std::move(*this);
}
Signature Signature::then(Signature next) && {
  chain.push_back(std::move(next));
  return std::move(*this);
}
Signature Signature::linked(Signature callback) && {
  link.push_back(std::move(callback));
  return std::move(*this);
}
Signature Signature::on_error(Signature errback) && {
  link_error.push_back(std::move(errback));
  return std::move(*this);
}

}  // namespace errand
