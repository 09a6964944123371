#pragma once
// Whether a test was compiled with a sanitizer, for the few to which that makes a difference.

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define ERRAND_TEST_SANITIZED
#endif
#if __has_feature(thread_sanitizer)
#define ERRAND_TEST_THREAD_SANITIZED
#endif
#endif

namespace errand::testing {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || defined(ERRAND_TEST_SANITIZED)
inline constexpr bool kSanitized = true;  // it has its own handlers, memory and way to end
#else
inline constexpr bool kSanitized = false;
#endif
#if defined(__SANITIZE_THREAD__) || defined(ERRAND_TEST_THREAD_SANITIZED)
inline constexpr bool kThreadSanitized = true;  // it has a thread of its own in every process
#else
inline constexpr bool kThreadSanitized = false;
#endif

}  // namespace errand::testing
