#pragma once
// Names for addresses of code. Supervisor and children are one program, forked and never executed anew, so an address
// of a child's code means the same here. Where no name is found, module and offset are enough for addr2line later.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace errand::pools {

struct Symbol {
  std::string function;      ///< readable name; "" unknown
  std::string module;        ///< file name without folders; "" unknown
  std::uint64_t offset = 0;  ///< in the module, as addr2line wants it
};

std::vector<Symbol> symbols_of(std::span<const std::uint64_t> addresses);

/// "thumbnail(std::string) in media_worker+0x1234"
std::string to_text(const Symbol& symbol);

}  // namespace errand::pools
