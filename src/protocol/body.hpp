#pragma once
// Body: the second half of a task message, the array [args, kwargs, embed] (celery-wire section 1.3).
//
// A Python worker dies of a body with two or four elements, so what Errand writes always has three, and what it
// reads is checked before a task sees it. The three parts are found by slicing; each is parsed only when asked for.

#include <errand/message.hpp>

#include <optional>
#include <string>
#include <string_view>

namespace errand::protocol {

/// Most signatures in one message's callbacks, errbacks and chain together, containers unfolded (fault F122).
inline constexpr std::size_t kMaxLinks = 10'000;
/// Deepest nesting of signatures in signatures.
inline constexpr std::size_t kMaxSignatureDepth = 1'000;
/// Deepest nesting of JSON in `embed`: protocol 1 nests one step of a chain three levels deep.
inline constexpr std::size_t kEmbedJsonDepth = 400;

/// What is to follow the task: signatures in their wire form. A value.
struct Embed {
  Array callbacks;  ///< link: run with the result prepended
  Array errbacks;   ///< link_error: run with the failed id prepended
  Array chain;      ///< remaining steps reversed: the next one is the last element
  Value chord;      ///< body of the chord this task is a member of; null: none

  bool empty() const noexcept { return callbacks.empty() && errbacks.empty() && chain.empty() && chord.is_null(); }
};

/// Slices of one body. Reads from the message it was made of, which must outlive it.
class Body {
 public:
  /// Removes the compression and finds the three parts. Throws DecodeFailure: CONTENT_DISALLOWED, TOO_LARGE,
  /// UNDECODABLE, BAD_BODY. Protocol 1 bodies must have been upgraded (task_message.hpp).
  explicit Body(const Message& message);

  std::string_view args_json() const noexcept { return slice(args_); }
  std::string_view kwargs_json() const noexcept { return slice(kwargs_); }
  std::string_view embed_json() const noexcept { return slice(embed_); }

  // Each parses its part anew and throws DecodeFailure when it is broken. kombu's typed bytes become Bytes.
  Array args() const;
  Object kwargs() const;
  Embed embed() const;

 private:
  struct Range {
    std::size_t at = 0;
    std::size_t size = 0;
  };
  std::string_view text() const noexcept { return unpacked_ ? std::string_view(*unpacked_) : source_; }
  std::string_view slice(Range range) const noexcept { return text().substr(range.at, range.size); }

  std::string_view source_;
  std::optional<std::string> unpacked_;
  Range args_, kwargs_, embed_;
};

/// The body's bytes without compression. Throws DecodeFailure as Body does.
std::string unpacked_body(const Message& message);

/// Checks types and limits of an embed and takes it apart. `null` and `{}` are an empty one; unknown keys are
/// ignored. Throws DecodeFailure{BAD_BODY} naming the field ("embed.chord: expected object or null, got array").
Embed read_embed(Value embed);

/// [args, kwargs, embed] as Python's json writes it.
std::string encode_body(const Array& args, const Object& kwargs, const Embed& embed, const JsonStyle& style = {});
/// The same from parts that are JSON already; `first_arg` is put before the others when it is not empty.
std::string join_body(std::string_view first_arg, std::string_view args_json, std::string_view kwargs_json,
                      const Embed& embed);
/// {"callbacks": ..., "errbacks": ..., "chain": ..., "chord": ...}; what is empty is null.
void write_embed(std::string& out, const Embed& embed, const JsonStyle& style = {});

}  // namespace errand::protocol
