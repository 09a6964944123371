#pragma once
// Reading small files with messages that say what to do.

#include <optional>
#include <string>

namespace errand::core {

/// The content of a regular file (or pipe) of at most `limit` bytes; nullopt with the reason, naming the user and the
/// mode that is needed where rights are missing.
std::optional<std::string> read_file(const std::string& path, std::size_t limit, std::string& wrong);

/// Why a file that holds secrets must not be used: others than owner and group may read it, or others than the owner
/// may write it. "" when it is fine.
std::string loose_mode(const std::string& path);

/// "deploy (uid 1000)": who this process is, for messages about rights.
std::string current_user();

}  // namespace errand::core
