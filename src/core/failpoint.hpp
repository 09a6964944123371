#pragma once
// Fail points: named places where a test can kill, pause or fail the process, to show what a crash exactly there costs.
//
//   ERRAND_FAILPOINT("claim.after");
//   ERRAND_FAILPOINT=claim.after:kill errand worker ...
//   ERRAND_FAILPOINT=lease.renew:pause=3s:2,ack.before:error=unavailable errand worker ...
//
// Release builds contain none of it: without the CMake option ERRAND_FAILPOINTS the macros are nothing. A name that is
// not in the table below does not compile. What each stands for is in docs/failpoints.md.

#ifdef ERRAND_FAILPOINTS

#include <array>
#include <cstddef>
#include <string_view>

namespace errand::core {

inline constexpr std::array kFailpoints{
    std::string_view{"pub.before_send"},
    std::string_view{"pub.after_send"},
    std::string_view{"pub.after_confirm"},
    std::string_view{"fetch.before"},
    std::string_view{"fetch.after_pop"},
    std::string_view{"claim.before"},
    std::string_view{"claim.after"},
    std::string_view{"decode.after"},
    std::string_view{"event.received"},
    std::string_view{"run.before"},
    std::string_view{"run.started_row"},
    std::string_view{"run.in_user_code"},
    std::string_view{"run.after"},
    std::string_view{"result.before"},
    std::string_view{"result.after"},
    std::string_view{"result.commit_sent"},
    std::string_view{"chain.before_publish"},
    std::string_view{"chain.after_publish"},
    std::string_view{"retry.before_publish"},
    std::string_view{"retry.between"},
    std::string_view{"chord.before_count"},
    std::string_view{"chord.between"},
    std::string_view{"chord.after_publish"},
    std::string_view{"ack.before"},
    std::string_view{"ack.sent"},
    std::string_view{"lease.renew"},
    std::string_view{"lease.expire"},
    std::string_view{"restore.before"},
    std::string_view{"restore.between"},
    std::string_view{"sweep.before"},
    std::string_view{"deadletter.before"},
    std::string_view{"ipc.send"},
    std::string_view{"ipc.recv"},
    std::string_view{"shutdown.begin"},
    std::string_view{"shutdown.return_leases"},
    std::string_view{"reload.parse"},
};

/// Its number; a name that is not in the table does not compile.
consteval std::size_t failpoint_number(std::string_view name) {
  for (std::size_t i = 0; i < kFailpoints.size(); ++i) {
    if (kFailpoints[i] == name) return i;
  }
  throw "no such fail point in kFailpoints";
}

/// Arms what the text says: `name:action[:hit]`, several separated by commas. Actions: kill (SIGKILL to itself),
/// exit (status 70, without cleaning up), pause=<duration> (this thread waits), error=<kind> (throws that Error). The
/// action happens once, when the point is passed for the hit-th time (default: the first), counted over this process
/// and those it forks afterwards. Throws Error{invalid} naming the valid words for any other text.
void arm_failpoints(std::string_view text);
/// The same with the environment variable ERRAND_FAILPOINT, once per process; nothing when it is not set. Every
/// action that happens appends "name action pid" to the file that ERRAND_FAILPOINT_LOG names, if it is set.
void arm_failpoints_from_environment();

void pass_failpoint(std::size_t number);

/// While it lives, pass_failpoint_inside() on this thread passes the point it names: how a driver says what the bytes
/// are for that a connection is about to send.
class FailpointScope {
 public:
  explicit FailpointScope(std::size_t number) noexcept;
  ~FailpointScope();
  FailpointScope(const FailpointScope&) = delete;
  FailpointScope& operator=(const FailpointScope&) = delete;

 private:
  std::size_t before_;
};
void pass_failpoint_inside();

}  // namespace errand::core

#define ERRAND_FAILPOINT(name) ::errand::core::pass_failpoint(::errand::core::failpoint_number(name))
#define ERRAND_FAILPOINT_IF(condition, name) \
  do {                                       \
    if (condition) ERRAND_FAILPOINT(name);   \
  } while (false)
#define ERRAND_FAILPOINT_DURING(name) \
  const ::errand::core::FailpointScope errand_failpoint_scope(::errand::core::failpoint_number(name))
#define ERRAND_FAILPOINT_INSIDE() ::errand::core::pass_failpoint_inside()
#define ERRAND_ARM_FAILPOINTS() ::errand::core::arm_failpoints_from_environment()

#else

#define ERRAND_FAILPOINT(name) static_cast<void>(0)
#define ERRAND_FAILPOINT_IF(condition, name) static_cast<void>(0)
#define ERRAND_FAILPOINT_DURING(name) static_cast<void>(0)
#define ERRAND_FAILPOINT_INSIDE() static_cast<void>(0)
#define ERRAND_ARM_FAILPOINTS() static_cast<void>(0)

#endif
